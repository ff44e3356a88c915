import Foundation

/// Stops attempts while the receiver is away, a mail server or a webhook's, so that an outage costs the waiting jobs nothing.
///
/// Closed, it lets everything through. It opens when several different jobs have failed in a row. When the wait is over it is half-open: one
/// attempt probes the receiver; an answer closes it, even a refusal, and a failure opens it for longer.
struct CircuitBreaker {
  /// The jobs that failed since the last success. One job that fails again and again does not open the breaker: the fault may be its own.
  private var failing: Set<Int64> = []
  private var openUntil: Date?
  private var lastFailure: Date?
  private var failedProbes = 0
  private let policy: OutboxPolicy

  init(_ policy: OutboxPolicy) { self.policy = policy }

  var isClosed: Bool { openUntil == nil }

  /// Returns when the open breaker becomes half-open, or `nil` if attempts may be made now.
  func blockedUntil(at now: Date) -> Date? {
    // A clock that was set back must not keep it open.
    openUntil.flatMap { $0 > now && $0 < now.addingTimeInterval(2 * policy.maxProbeInterval) ? $0 : nil }
  }

  /// Makes an open breaker half-open.
  mutating func endWait() { if openUntil != nil { openUntil = .distantPast } }

  mutating func recordSuccess() { self = CircuitBreaker(policy) }

  /// Makes the open breaker half-open if the last failure was before `date`.
  mutating func allowProbe(ifFailedBefore date: Date) {
    if openUntil != nil, let lastFailure, lastFailure < date { openUntil = .distantPast }
  }

  mutating func recordFailure(of job: Int64, at now: Date) {
    failing.insert(job)
    lastFailure = now
    if openUntil != nil {
      // An attempt that was in progress when the breaker opened says nothing new.
      guard blockedUntil(at: now) == nil else { return }
      failedProbes += 1
    } else if failing.count < max(2, policy.connections) {
      return
    }
    openUntil = now.addingTimeInterval(policy.backoff(after: failedProbes + 1, longest: policy.maxProbeInterval))
  }
}
