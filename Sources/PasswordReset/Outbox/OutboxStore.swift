public import Foundation

/// One thing the outbox owes somebody. None of them holds a token: tokens are made when the mail is sent.
public enum OutboxItem: Sendable, Equatable {
  /// Somebody asked for a reset. Whom it concerns, if anybody, is looked up by the worker.
  case request(AccountIdentifier)
  /// One of several accounts that a request concerns.
  case resetMail(userID: Int64)
  /// The password of this user was changed; `recipient` is the address at that moment.
  case changedMail(userID: Int64, recipient: String)
}

/// An item in the outbox, taken on a lease.
public struct OutboxEntry: Sendable, Equatable {
  public var id: Int64
  public var item: OutboxItem
  /// A language tag, as asked for.
  public var locale: String?
  /// The `X-Request-Id` of the request that caused it.
  public var requestID: String
  public var createdAt: Date
  /// From when its time to live counts: ``createdAt``, or when an operator had it tried again.
  public var ttlStart: Date
  /// How often it was taken, this time included. It marks the lease: an outcome counts only while it is unchanged.
  public var attempts: Int

  public init(id: Int64, item: OutboxItem, locale: String?, requestID: String, createdAt: Date, ttlStart: Date, attempts: Int) {
    self.id = id
    self.item = item
    self.locale = locale
    self.requestID = requestID
    self.createdAt = createdAt
    self.ttlStart = ttlStart
    self.attempts = attempts
  }
}

/// How the handling of an entry ended.
public enum OutboxOutcome: Sendable, Equatable {
  /// Dealt with; the row goes.
  case done
  /// The request concerns several accounts: a `resetMail` each takes its place, at once.
  case split(userIDs: [Int64])
  /// Not dealt with: it is due again at once.
  case release
  /// It may succeed later.
  case retry(at: Date, reason: String)
  /// It never will: the row stays, as a dead letter.
  case bury(reason: String)
}

/// What the audit records of a reset.
public enum AuditEvent: String, Sendable, CaseIterable {
  /// Somebody asked for a mail.
  case requested
  /// A request that concerned no account which may have a mail.
  case noAccount = "no_account"
  /// A mail held back by the limit of its address.
  case suppressed
  /// A mail that the backend took.
  case mailed
  /// A mail given up.
  case mailFailed = "mail_failed"
  /// A link that sets no password was opened or used.
  case linkInvalid = "link_invalid"
  /// The same, and once it was a good one.
  case linkExpired = "link_expired"
  /// A new password.
  case reset
  /// A new password that staff chose, by a command.
  case setByStaff = "set_by_staff"
  /// A link that staff had printed, by a command.
  case linkPrinted = "link_printed"
}

/// One line of the audit.
public struct AuditRecord: Sendable, Equatable {
  public var event: AuditEvent
  public var userID: Int64?
  /// A keyed hash of the address or user name, so that the audit can be searched for one but not read as a list of people.
  public var identifierKey: String?

  public init(_ event: AuditEvent, userID: Int64? = nil, identifierKey: String? = nil) {
    self.event = event
    self.userID = userID
    self.identifierKey = identifierKey
  }
}

/// A mail that wants to go.
public struct MailReservation: Sendable {
  /// A keyed hash of the address; nil for a mail that does not count against its address's limits.
  public var addressKey: String?
  /// Mails of one request to one address count against its limits as one.
  public var requestID: String
  public var userID: Int64
  public var limits: [RateLimit]
  public var totalLimits: [RateLimit]
}

/// Whether a mail may go.
public enum MailAllowance: Sendable, Equatable {
  case granted
  /// The address has had its share.
  case refused
  /// All mails together have had theirs; there may be a place then.
  case later(Date)
}

/// The durable queue between a request and its mail.
public protocol OutboxStore: Sendable {
  /// Returns when the request is on disk with what the audit says of it, to be taken from `due` on.
  func enqueue(_ identifier: AccountIdentifier, audit: AuditRecord, locale: String, requestID: String, at now: Date, due: Date)
    async throws(StoreError)

  /// Takes up to `limit` entries that are due, oldest first. Nobody else gets them before `leaseEnd`; after it they are due again.
  func claim(limit: Int, at now: Date, leaseEnd: Date) async throws(StoreError) -> [OutboxEntry]

  /// Puts off the end of the leases on `entries`; the keys of those that are still held.
  func renew(_ entries: [OutboxEntry], leaseEnd: Date) async throws(StoreError) -> Set<Int64>

  /// Records how an entry ended and what the audit says of it, in one step; if the lease is no longer held it records nothing and returns false.
  func finish(_ entry: OutboxEntry, _ outcome: OutboxOutcome, audit: AuditRecord?, at now: Date) async throws(StoreError) -> Bool

  /// Deletes up to `limit` dead letters that were given up before `date`; how many it deleted.
  func purgeDeadLetters(before date: Date, limit: Int) async throws(StoreError) -> Int

  /// When the next entry is due; nil if there is none.
  func nextDue() async throws(StoreError) -> Date?

  /// Counts a mail against the limits of its address and those of all mails together. It counts once however often it is tried, and the count
  /// survives a restart.
  func reserveMail(_ mail: MailReservation, at now: Date) async throws(StoreError) -> MailAllowance
}
