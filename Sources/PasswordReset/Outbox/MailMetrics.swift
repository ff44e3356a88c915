import Prometheus

/// The metrics of emails.
struct MailMetrics: Sendable {
  /// Emails by outcome: `sent`, `retried` or `dead`. Requests that concern no account are not counted, as the number would reveal accounts.
  let emails: Counter
  /// Seconds that the backend took to accept an email, or to fail.
  let durations: Histogram

  init(_ registry: Registry) {
    emails = registry.counter(
      "password_reset_emails_total", "Emails by outcome: sent, failed and to be retried, or dead-lettered.", labels: ["outcome"],
      known: [["sent"], ["retried"], ["dead"]])
    durations = registry.histogram(
      "password_reset_email_duration_seconds", "How long it took to send one email, or to fail.",
      bounds: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60])
  }
}
