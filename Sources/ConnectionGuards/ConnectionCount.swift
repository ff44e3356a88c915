public import HummingbirdCore
import Synchronization

/// The number of open connections and its limit.
///
/// At the limit, the server accepts no more connections. They wait in the kernel's queue, where they need no descriptor.
public final class ConnectionCount: AvailableConnectionsDelegate {
  /// The length of the kernel's accept queue, which net.core.somaxconn limits further.
  public static let backlog = 4096
  /// The descriptors that the service needs besides connections: database, email, log.
  private static let otherDescriptors = 128
  private static let largestLimit = 20_000

  public let limit: Int
  private let count = Atomic(0)

  public init(limit: Int) { self.limit = limit }

  /// Returns the limit for a process that may open this many descriptors, or `nil` if they are too few to run.
  public static func limit(forDescriptors descriptors: Int) -> Int? {
    descriptors >= 2 * otherDescriptors ? min(descriptors - otherDescriptors, largestLimit) : nil
  }

  public var open: Int { count.load(ordering: .relaxed) }

  /// Whether more than half of the allowed connections are open.
  var isCrowded: Bool { open > limit / 2 }

  public func connectionOpened() { count.add(1, ordering: .relaxed) }
  public func connectionClosed() { count.subtract(1, ordering: .relaxed) }
  public func isAcceptingNewConnections() -> Bool { open < limit }
}
