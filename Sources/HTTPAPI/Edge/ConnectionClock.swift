import NIOCore
import Synchronization

/// Has every connection of one event loop look at the time once a second, a fiftieth of them at once: ten thousand timers would cost more than all that
/// they watch, and ten thousand closings at once would hold up everybody else.
final class ConnectionClock: NIOScheduledCallbackHandler {
  private static let shares = 50
  private static let step = TimeAmount.milliseconds(20)

  private var connections: [[ConnectionGuard]] = Array(repeating: [], count: shares)
  /// The share that is looked at next, and the one that the next connection joins.
  private var due = 0
  private var joined = 0
  private var isRunning = false

  func watch(_ connection: ConnectionGuard, on loop: any EventLoop) {
    connections[joined].append(connection)
    joined = (joined + 1) % Self.shares
    if !isRunning { run(on: loop) }
  }

  func handleScheduledCallback(eventLoop: some EventLoop) {
    let now = NIODeadline.now()
    // Taken out while they are looked at: whatever comes of a close, the list is not in use.
    let share = connections[due]
    connections[due] = []
    connections[due] += share.filter { $0.look(at: now) }
    due = (due + 1) % Self.shares
    isRunning = false
    if !connections.allSatisfy(\.isEmpty) { run(on: eventLoop) }
  }

  private func run(on loop: any EventLoop) {
    // It fails only on a loop that is shut down, and with it all connections.
    isRunning = (try? loop.assumeIsolated().scheduleCallback(in: Self.step, handler: self)) != nil
  }
}

/// A clock for each event loop.
final class ConnectionClocks: Sendable {
  private let clocks = Mutex<[ObjectIdentifier: NIOLoopBound<ConnectionClock>]>([:])

  /// The clock of `loop`, to be asked on it.
  func clock(of loop: any EventLoop) -> ConnectionClock {
    clocks.withLock { clocks in
      if let clock = clocks[ObjectIdentifier(loop)] { return clock }
      let clock = NIOLoopBound(ConnectionClock(), eventLoop: loop)
      clocks[ObjectIdentifier(loop)] = clock
      return clock
    }.value
  }
}
