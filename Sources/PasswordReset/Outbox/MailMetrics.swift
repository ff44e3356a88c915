import Prometheus

/// What is measured of mails.
struct MailMetrics: Sendable {
  /// By outcome: `sent`, `retried` or `given_up`. That a request concerned no account is not among them: it would tell of accounts.
  let mails: Counter
  let durations: Histogram

  init(_ registry: Registry) {
    mails = registry.counter(
      "password_reset_mails_total", "Mails by outcome: sent, to be tried again, or given up.", labels: ["outcome"],
      known: [["sent"], ["retried"], ["given_up"]])
    durations = registry.histogram(
      "password_reset_mail_duration_seconds", "How long it took to hand over one mail, or to fail.",
      bounds: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60])
  }
}
