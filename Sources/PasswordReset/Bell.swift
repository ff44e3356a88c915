/// Wakes the worker: rung when there may be something to do. Rings while nobody listens become one.
public struct Bell: Sendable {
  let rings: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation

  public init() {
    (rings, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  public func ring() { continuation.yield() }

  /// No more rings: the listener's loop ends.
  func silence() { continuation.finish() }
}
