public import Credentials
public import Foundation

/// What a job does. No kind holds a token: the token is made when the email is sent.
public enum JobKind: Sendable, Equatable {
  /// Someone asked for a reset. The worker looks up which accounts this concerns, if any.
  case resetRequest(AccountIdentifier)
  /// Sends the reset email to one of several accounts that a request concerns. It keeps the address of the
  /// request; there is none if the request named a user, or if an older release wrote the job.
  case resetEmail(userID: UserID, requested: String?)
  /// Tells the owner of `recipient`, the user's address at that time, that the password was changed.
  case changedNotice(userID: UserID, recipient: String)
  /// Reports an event to the site. The message id is the same for all attempts; the user is known unless it is `nil`.
  case webhook(WebhookEvent, userID: UserID?, messageID: String)
}

/// A job that is about to be added to the outbox.
public struct NewJob: Sendable, Equatable {
  public var kind: JobKind
  /// The language tag of the email, as the client asked for it.
  public var locale: String?
  /// The `X-Request-Id` of the request that causes the job.
  public var requestID: String
  public var createdAt: Date
  /// When a worker may claim the job; for a leased job, when its lease ends.
  public var due: Date
  /// The process that holds the job from the start, so that no claim is needed; `nil` leaves it to any worker.
  public var owner: String?

  public init(_ kind: JobKind, locale: String?, requestID: String, createdAt: Date, due: Date, owner: String? = nil) {
    self.kind = kind
    self.locale = locale
    self.requestID = requestID
    self.createdAt = createdAt
    self.due = due
    self.owner = owner
  }
}

/// A job from the outbox, leased to a worker.
public struct Job: Sendable, Equatable {
  public var id: Int64
  public var kind: JobKind
  /// The language tag of the email, as the client asked for it.
  public var locale: String?
  /// The `X-Request-Id` of the request that caused the job.
  public var requestID: String
  public var createdAt: Date
  /// When the time to live began: at ``createdAt``, or when an operator retried the job.
  public var ttlStart: Date
  /// How many times the job was leased and not released, including this time.
  public var attempts: Int

  public init(id: Int64, kind: JobKind, locale: String?, requestID: String, createdAt: Date, ttlStart: Date, attempts: Int) {
    self.id = id
    self.kind = kind
    self.locale = locale
    self.requestID = requestID
    self.createdAt = createdAt
    self.ttlStart = ttlStart
    self.attempts = attempts
  }
}

/// How the handling of a job ended, with the audit record that is committed with it.
public enum JobOutcome: Sendable, Equatable {
  /// The job is complete and is deleted. Only a webhook that was sent has no audit record.
  case done(AuditRecord?)
  /// The request concerns several accounts: a ``JobKind/resetEmail(userID:requested:)`` for each replaces it.
  case split([UserID], AuditRecord?)
  /// Nothing was attempted: the job is due again at once.
  case release
  /// The attempt failed and may succeed later.
  case retry(at: Date, reason: String)
  /// No attempt will succeed: the job stays as a dead letter.
  case deadLetter(reason: String, AuditRecord?)

  /// The audit record to commit with the outcome.
  public var audit: AuditRecord? {
    switch self {
    case .done(let record), .deadLetter(_, let record): record
    case .split(_, let record): record
    case .release, .retry: nil
    }
  }

  /// Whether an email or a webhook was sent, which must not be sent again.
  public var isSent: Bool {
    guard case .done(let record) = self else { return false }
    return record == nil || record?.event == .mailed
  }
}
