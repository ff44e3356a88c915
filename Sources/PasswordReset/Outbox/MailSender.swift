public import Foundation
public import Prometheus

/// Sends emails through the mail backend, within the limits of its ``SendGate``.
public final class MailSender: Sender {
  private let backend: any MailBackend
  let gate: SendGate
  let metrics: SendMetrics

  /// - Parameter sleep: Waits for a turn, and throws on graceful shutdown. The simulation replaces it together with `now`.
  public init(
    _ backend: any MailBackend, policy: OutboxPolicy, registry: Registry, now: @escaping @Sendable () -> Date,
    sleep: (@Sendable (Duration) async throws -> Void)? = nil
  ) {
    self.backend = backend
    gate = SendGate(policy, prefetch: backend.prefetch, now: now, sleep: sleep)
    metrics = .emails(registry)
  }

  /// Sends an email in a slot of the gate.
  func send(_ message: EmailMessage, of job: Job, in slot: borrowing SendGate.Slot) async -> SendResult<MailError> {
    await attempt(job, isOutage: \.isOutage) { () async throws(MailError) in try await backend.send(message) }
  }

  func stop() {
    gate.stop()
    backend.stop()
  }
}

extension MailError {
  /// Whether no email can be sent now. Otherwise the server answered.
  fileprivate var isOutage: Bool { if case .unavailable = self { true } else { false } }
}
