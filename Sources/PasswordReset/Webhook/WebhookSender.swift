public import Foundation
public import Prometheus

/// Sends webhooks through its backend, within the limits of its ``SendGate``.
public final class WebhookSender: Sender {
  private let backend: any WebhookBackend
  let gate: SendGate
  let metrics: SendMetrics

  /// - Parameter backend: Sends the webhooks, or `nil` if no receiver is configured.
  public init(_ backend: (any WebhookBackend)?, policy: OutboxPolicy, registry: Registry, now: @escaping @Sendable () -> Date) {
    self.backend = backend ?? MissingReceiver()
    gate = SendGate(policy, now: now)
    metrics = .webhooks(registry)
  }

  /// Sends a webhook in a slot of the gate.
  func send(_ message: WebhookMessage, of job: Job, in slot: borrowing SendGate.Slot) async -> SendResult<WebhookError> {
    let start = ContinuousClock.now
    defer { metrics.durations.observe((ContinuousClock.now - start) / .seconds(1)) }
    do {
      try await backend.send(message)
    } catch {
      guard error.isOutage else {
        // The receiver answered, so it is available.
        gate.recordAnswer()
        return .failed(error)
      }
      return gate.recordFailure(of: job) ? .failed(error) : .notAttempted
    }
    gate.recordAnswer()
    return .sent
  }

  func stop() {
    gate.stop()
    backend.stop()
  }
}
