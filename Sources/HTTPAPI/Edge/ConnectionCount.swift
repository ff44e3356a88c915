import HummingbirdCore
import Synchronization

/// How many connections are open. When there is no place left no more are accepted: they wait in the kernel's queue, and cost no descriptor.
final class ConnectionCount: AvailableConnectionsDelegate {
  private let limit: Int
  private let count = Atomic(0)

  init(limit: Int) { self.limit = limit }

  /// How many are open.
  var open: Int { count.load(ordering: .relaxed) }

  /// Whether more than half of the places are taken.
  var isCrowded: Bool { count.load(ordering: .relaxed) > limit / 2 }

  func connectionOpened() { count.add(1, ordering: .relaxed) }
  func connectionClosed() { count.subtract(1, ordering: .relaxed) }
  func isAcceptingNewConnections() -> Bool { count.load(ordering: .relaxed) < limit }
}
