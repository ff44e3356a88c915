import NIOCore
import Synchronization

/// A hashed timer wheel that calls every connection of one event loop once per second, one fiftieth of them per tick.
///
/// One timer per connection would cost more than everything it watches, and closing ten thousand connections in one
/// tick would delay all others.
final class ConnectionTimerWheel: NIOScheduledCallbackHandler {
  private static let bucketCount = 50
  private static let tickInterval = TimeAmount.milliseconds(20)

  private var buckets: [[ConnectionGuard]] = Array(repeating: [], count: bucketCount)
  /// The bucket that the next tick checks.
  private var current = 0
  /// The bucket that the next connection joins.
  private var nextBucket = 0
  private var isRunning = false

  func watch(_ connection: ConnectionGuard, on loop: any EventLoop) {
    buckets[nextBucket].append(connection)
    nextBucket = (nextBucket + 1) % Self.bucketCount
    if !isRunning { run(on: loop) }
  }

  func handleScheduledCallback(eventLoop: some EventLoop) {
    tick(now: .now())
    isRunning = false
    if !buckets.allSatisfy(\.isEmpty) { run(on: eventLoop) }
  }

  private func tick(now: NIODeadline) {
    // Empty the bucket first: closing a connection can add another one to it.
    let bucket = buckets[current]
    buckets[current] = []
    buckets[current] += bucket.filter { $0.tick(now: now) }
    current = (current + 1) % Self.bucketCount
  }

  private func run(on loop: any EventLoop) {
    // Scheduling fails only on a loop that is shut down, and its connections are then closed.
    isRunning = (try? loop.assumeIsolated().scheduleCallback(in: Self.tickInterval, handler: self)) != nil
  }
}

/// The timer wheels of all event loops.
final class ConnectionTimerWheels: Sendable {
  private let wheels = Mutex<[ObjectIdentifier: NIOLoopBound<ConnectionTimerWheel>]>([:])

  /// Returns the wheel of `loop`. Call it on that loop.
  func wheel(of loop: any EventLoop) -> ConnectionTimerWheel {
    wheels.withLock { wheels in
      if let wheel = wheels[ObjectIdentifier(loop)] { return wheel }
      let wheel = NIOLoopBound(ConnectionTimerWheel(), eventLoop: loop)
      wheels[ObjectIdentifier(loop)] = wheel
      return wheel
    }.value
  }
}
