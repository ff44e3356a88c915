import Foundation
import Logging
import Prometheus

extension JobOutcome {
  /// Logs how the job ended, and counts its email or webhook.
  func report(_ job: Job, to logger: Logger, _ metrics: SendMetrics, at now: Date) {
    let isEmail = job.kind.channel == .email
    var metadata: Logger.Metadata = ["request_id": "\(job.requestID)", "attempts": "\(job.attempts)"]
    switch self {
    case .done(let audit):
      if isSent { metrics.outcomes.increment("sent") }
      metadata["event"] = audit.map { "\($0.event.rawValue)" }
      metadata.merge(job.kind.webhookMetadata) { $1 }
      logger.info("Job done", metadata: metadata)
    case .split(let userIDs, _):
      metadata["accounts"] = "\(userIDs.count)"
      logger.info("Request concerns several accounts", metadata: metadata)
    case .release:
      logger.debug("Job released", metadata: metadata)
    case .retry(let date, let reason):
      metrics.outcomes.increment("retried")
      metadata.merge(job.kind.webhookMetadata) { $1 }
      metadata["reason"] = "\(reason)"
      metadata["retry_in"] = "\(Int(date.timeIntervalSince(now).rounded(.up))) s"
      if isEmail {
        logger.warning("Email not sent; it will be retried", metadata: metadata)
      } else {
        logger.warning("Webhook not sent; it will be retried", metadata: metadata)
      }
    case .deadLetter(let reason, _):
      metrics.outcomes.increment("dead")
      metadata.merge(job.kind.webhookMetadata) { $1 }
      metadata["reason"] = "\(reason)"
      if isEmail {
        logger.error("Email not sent; it is a dead letter", metadata: metadata)
      } else {
        logger.error("Webhook not sent; it is a dead letter", metadata: metadata)
      }
    }
  }
}

extension JobKind {
  /// What a log line says about a webhook; nothing about an email.
  fileprivate var webhookMetadata: Logger.Metadata {
    guard case .webhook(let event, _, let messageID) = self else { return [:] }
    return ["webhook": "\(event.rawValue)", "webhook_id": "\(messageID)"]
  }
}
