/// Wakes the worker: rung when there may be something to do. Rings while nobody listens become one.
public struct WorkerWakeup: Sendable {
  let signals: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation

  public init() {
    (signals, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  public func wake() { continuation.yield() }

  /// No more signals: the listener's loop ends.
  func finish() { continuation.finish() }
}
