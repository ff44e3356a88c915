/// Wakes the worker when there may be something to do. Signals that arrive before the worker waits become one.
struct WorkerWakeup: Sendable {
  let signals: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation

  init() { (signals, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

  func wake() { continuation.yield() }

  /// Ends the stream of signals.
  func finish() { continuation.finish() }
}
