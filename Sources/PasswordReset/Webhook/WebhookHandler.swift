public import Foundation

/// Handles the jobs that report events to the site's webhook.
public struct WebhookHandler: JobHandler {
  private let sender: WebhookSender
  private let leases: LeaseKeeper
  private let policy: OutboxPolicy
  private let now: @Sendable () -> Date

  public init(sender: WebhookSender, leases: LeaseKeeper, policy: OutboxPolicy, now: @escaping @Sendable () -> Date) {
    (self.sender, self.leases, self.policy, self.now) = (sender, leases, policy, now)
  }

  func handle(_ job: Job) async -> JobOutcome {
    guard case .webhook(let event, let userID, let messageID) = job.kind else { return .deadLetter(reason: "not a webhook", nil) }
    let deadline = job.ttlStart.addingTimeInterval(policy.timeToLive)
    guard now() <= deadline else { return .deadLetter(reason: "older than a day", nil) }
    let slot: SendGate.Slot
    switch await sender.gate.slot(before: deadline) {
    case .slot(let granted): slot = granted
    case .refused: return .release
    case .tooLate: return .deadLetter(reason: "older than a day when its turn comes", nil)
    }
    guard await leases.isHeld(job) else { return .release }
    // A job that was passed in memory has a more precise time than one that was read, and the body must be the same for all attempts.
    let time = Date(milliseconds: job.createdAt.milliseconds)
    let message = WebhookMessage(id: messageID, type: event.rawValue, time: time, userID: userID, requestID: job.requestID)
    switch await sender.send(message, of: job, in: slot) {
    case .sent: return .done(nil)
    case .notAttempted: return .release
    case .failed(let error): return outcome(error, job, deadline)
    }
  }

  private func outcome(_ error: WebhookError, _ job: Job, _ deadline: Date) -> JobOutcome {
    let backoff = policy.backoff(after: job.attempts, longest: error.isOutage ? policy.maxProbeInterval : policy.maxBackoff)
    // A receiver must not have its events wait until they are too old.
    let wait = max(backoff, min(error.retryAfter ?? 0, policy.maxBackoff))
    let date = now().addingTimeInterval(wait)
    guard date <= deadline else { return .deadLetter(reason: "\(job.attempts) attempts failed, the last one: \(error.reason)", nil) }
    return .retry(at: date, reason: error.reason)
  }
}
