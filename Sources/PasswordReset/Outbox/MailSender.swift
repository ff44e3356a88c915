public import Foundation
public import Prometheus

/// Sends emails through the mail backend, within the limits of its ``SendGate``.
public final class MailSender: Sender {
  private let backend: any MailBackend
  let gate: SendGate
  let metrics: SendMetrics

  public init(_ backend: any MailBackend, policy: OutboxPolicy, registry: Registry, now: @escaping @Sendable () -> Date) {
    self.backend = backend
    gate = SendGate(policy, prefetch: backend.prefetch, now: now)
    metrics = .emails(registry)
  }

  /// Sends an email in a slot of the gate.
  func send(_ message: EmailMessage, of job: Job, in slot: borrowing SendGate.Slot) async -> SendResult<MailError> {
    let start = ContinuousClock.now
    defer { metrics.durations.observe((ContinuousClock.now - start) / .seconds(1)) }
    do {
      try await backend.send(message)
    } catch .unavailable(let reason) {
      return gate.recordFailure(of: job) ? .failed(.unavailable(reason: reason)) : .notAttempted
    } catch {
      // The server answered, so it is available.
      gate.recordAnswer()
      return .failed(error)
    }
    gate.recordAnswer()
    return .sent
  }

  func stop() {
    gate.stop()
    backend.stop()
  }
}
