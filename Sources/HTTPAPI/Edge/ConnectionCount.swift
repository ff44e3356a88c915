import HummingbirdCore
import Synchronization

/// How many connections are open. When there is no place left no more are accepted: they wait in the kernel's queue, and cost no descriptor.
final class ConnectionCount: AvailableConnectionsDelegate {
  private let limit: Int
  private let open = Atomic(0)

  init(limit: Int) { self.limit = limit }

  /// Whether more than half of the places are taken.
  var isCrowded: Bool { open.load(ordering: .relaxed) > limit / 2 }

  func connectionOpened() { open.add(1, ordering: .relaxed) }
  func connectionClosed() { open.subtract(1, ordering: .relaxed) }
  func isAcceptingNewConnections() -> Bool { open.load(ordering: .relaxed) < limit }
}
