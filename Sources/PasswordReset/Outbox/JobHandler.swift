import Prometheus

/// Handles the jobs of one channel.
protocol JobHandler: Sendable {
  /// Handles one attempt of a job.
  func handle(_ job: Job) async throws(StoreError) -> JobOutcome
}

/// Sends what a handler passes to it.
protocol Sender: Sendable {
  /// The limits of sending.
  var gate: SendGate { get }
  var metrics: SendMetrics { get }

  /// Lets all that wait for a slot or a turn return, and begins no further attempt.
  func stop()
}

extension Sender {
  /// Attempts to send, and records how it went for the metrics and the circuit breaker.
  /// - Parameter isOutage: Whether the failure says that nothing can be sent now. Otherwise the receiver answered.
  func attempt<Failure>(
    _ job: Job, isOutage: (Failure) -> Bool, _ send: () async throws(Failure) -> Void
  ) async -> SendResult<Failure> {
    let start = ContinuousClock.now
    defer { metrics.durations.observe((ContinuousClock.now - start) / .seconds(1)) }
    do {
      try await send()
    } catch {
      if isOutage(error) { return gate.recordFailure(of: job) ? .failed(error) : .notAttempted }
      gate.recordAnswer()
      return .failed(error)
    }
    gate.recordAnswer()
    return .sent
  }
}

/// What became of one attempt to send.
enum SendResult<Failure: Error> {
  case sent
  case failed(Failure)
  /// The service is stopping, so the failure says nothing about the message or the receiver.
  case notAttempted
}

/// The metrics of what one channel sends.
struct SendMetrics: Sendable {
  /// Counts by outcome: `sent`, `retried` or `dead`. Requests that concern no account are not counted, as the number would reveal accounts.
  let outcomes: Counter
  /// Seconds that the receiver took to accept something, or to fail.
  let durations: Histogram

  private static let outcomes = [["sent"], ["retried"], ["dead"]]

  static func emails(_ registry: Registry) -> SendMetrics {
    SendMetrics(
      outcomes: registry.counter(
        "password_reset_emails_total", "Emails by outcome: sent, failed and to be retried, or dead-lettered.", labels: ["outcome"], known: outcomes),
      durations: registry.histogram(
        "password_reset_email_duration_seconds", "How long it took to send one email, or to fail.",
        bounds: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]))
  }

  static func webhooks(_ registry: Registry) -> SendMetrics {
    SendMetrics(
      outcomes: registry.counter(
        "password_reset_webhooks_total", "Webhooks by outcome: sent, failed and to be retried, or dead-lettered.", labels: ["outcome"],
        known: outcomes),
      durations: registry.histogram(
        "password_reset_webhook_duration_seconds", "How long it took to send one webhook, or to fail.",
        bounds: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]))
  }
}
