import Foundation
import Logging
import Prometheus

extension JobOutcome {
  /// Logs how the job ended, and counts its email.
  func report(_ job: Job, to logger: Logger, _ metrics: MailMetrics, at now: Date) {
    var metadata: Logger.Metadata = ["request_id": "\(job.requestID)", "attempts": "\(job.attempts)"]
    switch self {
    case .done(let audit):
      if audit.event == .mailed { metrics.emails.increment("sent") }
      metadata["event"] = "\(audit.event.rawValue)"
      logger.info("Job done", metadata: metadata)
    case .split(let userIDs, _):
      metadata["accounts"] = "\(userIDs.count)"
      logger.info("Request concerns several accounts", metadata: metadata)
    case .release:
      logger.debug("Job released", metadata: metadata)
    case .retry(let date, let reason):
      metrics.emails.increment("retried")
      metadata["reason"] = "\(reason)"
      metadata["retry_in"] = "\(Int(date.timeIntervalSince(now).rounded(.up))) s"
      logger.warning("Email not sent; it will be retried", metadata: metadata)
    case .deadLetter(let reason, _):
      metrics.emails.increment("dead")
      metadata["reason"] = "\(reason)"
      logger.error("Email not sent; it is a dead letter", metadata: metadata)
    }
  }
}
