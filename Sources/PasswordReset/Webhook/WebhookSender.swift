public import Foundation
public import Prometheus

/// Sends webhooks through its backend, within the limits of its ``SendGate``.
public final class WebhookSender: Sender {
  private let backend: any WebhookBackend
  let gate: SendGate
  let metrics: SendMetrics

  /// - Parameters:
  ///   - backend: Sends the webhooks, or `nil` if no receiver is configured.
  ///   - sleep: Waits for a turn, and throws on graceful shutdown. The simulation replaces it together with `now`.
  public init(
    _ backend: (any WebhookBackend)?, policy: OutboxPolicy, registry: Registry, now: @escaping @Sendable () -> Date,
    sleep: (@Sendable (Duration) async throws -> Void)? = nil
  ) {
    self.backend = backend ?? MissingReceiver()
    gate = SendGate(policy, now: now, sleep: sleep)
    metrics = .webhooks(registry)
  }

  /// Sends a webhook in a slot of the gate.
  func send(_ message: WebhookMessage, of job: Job, in slot: borrowing SendGate.Slot) async -> SendResult<WebhookError> {
    await attempt(job, isOutage: \.isOutage) { () async throws(WebhookError) in try await backend.send(message) }
  }

  func stop() {
    gate.stop()
    backend.stop()
  }
}
