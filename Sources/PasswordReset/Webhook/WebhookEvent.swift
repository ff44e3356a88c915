public import Credentials
public import Foundation

/// What a webhook reports to the site.
public enum WebhookEvent: String, Sendable, CaseIterable {
  /// A user has a new password, by a reset or by staff.
  case completed = "password_reset.completed"
  /// A reset email was sent to a user who asked for it.
  case requested = "password_reset.requested"
  /// An email became a dead letter.
  case mailFailed = "password_reset.mail_failed"
  /// Staff printed a reset link.
  case linkPrinted = "password_reset.link_printed"
  /// The reset links of a user were cancelled, by the user or by staff.
  case cancelled = "password_reset.cancelled"

  /// Returns a job that reports the event to the site, with a new message id, which it keeps over all attempts.
  public func makeJob(userID: UserID?, requestID: String, at now: Date) -> NewJob {
    NewJob(makeKind(userID: userID), locale: nil, requestID: requestID, createdAt: now, due: now)
  }

  /// Returns the kind of a job that reports the event, with a new message id.
  func makeKind(userID: UserID?) -> JobKind { .webhook(self, userID: userID, messageID: WebhookMessage.makeID()) }
}

/// The facts of a webhook. It contains no address and no token.
public struct WebhookMessage: Sendable, Equatable {
  /// Identifies the message. It is the same for all attempts, so that a receiver can drop a duplicate.
  public var id: String
  /// The name of the event, such as `password_reset.completed`.
  public var type: String
  /// When the event happened.
  public var time: Date
  /// The key of the user, or `nil` if no user is known.
  public var userID: UserID?
  /// The `X-Request-Id` of the request that caused the event, or the name of the command.
  public var requestID: String

  public init(id: String, type: String, time: Date, userID: UserID?, requestID: String) {
    (self.id, self.type, self.time, self.userID, self.requestID) = (id, type, time, userID, requestID)
  }

  /// Returns a new random id.
  public static func makeID() -> String { "msg_" + String(UInt128.random(in: .min ... .max), radix: 36) }
}

/// Sends webhooks to the site.
public protocol WebhookBackend: Sendable {
  /// Returns when the receiver has accepted the message.
  func send(_ message: WebhookMessage) async throws(WebhookError)

  /// Makes all messages whose sending has not begun fail.
  func stop()
}

/// The reason why a webhook was not accepted. The text is for the operator.
public struct WebhookError: Error, Sendable, Equatable {
  public var reason: String
  /// Whether no webhook can be sent now, because the receiver is away or overloaded.
  public var isOutage: Bool
  /// How many seconds the receiver asked to wait before the next attempt.
  public var retryAfter: TimeInterval?

  public init(_ reason: String, isOutage: Bool, retryAfter: TimeInterval? = nil) {
    (self.reason, self.isOutage, self.retryAfter) = (reason, isOutage, retryAfter)
  }
}

/// Fails for all webhooks, because no receiver is configured. Jobs that were added when there was one wait for it.
struct MissingReceiver: WebhookBackend {
  func send(_ message: WebhookMessage) async throws(WebhookError) {
    throw WebhookError("WEBHOOK_URL is not set; set it again, or delete this job", isOutage: true)
  }

  func stop() {}
}
