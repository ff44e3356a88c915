public import Credentials
public import Foundation

/// The outbox as the operator's commands and the metrics need it.
public protocol OutboxAdmin: Sendable {
  func outboxCounts() async throws(StoreError) -> OutboxCounts

  /// Returns up to `limit` rows in the order of their ids, damaged ones included.
  /// - Parameter after: the id that precedes the first row, or `nil` to begin with the lowest id.
  func outboxRows(after id: Int64?, limit: Int, deadLettersOnly: Bool) async throws(StoreError) -> [OutboxRow]

  /// Returns the row with this id, or `nil` if there is none.
  func outboxRow(id: Int64) async throws(StoreError) -> OutboxRow?

  /// Makes jobs due at once, dead letters included, with a new time to live. Returns how many it found.
  func retryOutbox(_ selection: OutboxSelection, at now: Date) async throws(StoreError) -> Int

  /// Deletes up to `limit` rows, and returns how many it deleted.
  func purgeOutbox(_ selection: OutboxSelection, limit: Int) async throws(StoreError) -> Int
}

/// How full the outbox is.
public struct OutboxCounts: Sendable, Equatable {
  /// The number of jobs that wait or are leased.
  public var waiting: Int
  /// When the oldest of them was created that is not a webhook, or `nil` if there is none. A receiver that is away must not look like a
  /// mail server that is.
  public var oldest: Date?
  /// The number of dead letters.
  public var dead: Int

  public init(waiting: Int, oldest: Date?, dead: Int) {
    self.waiting = waiting
    self.oldest = oldest
    self.dead = dead
  }
}

/// A row of the outbox as the operator sees it. Unlike a ``Job`` it may be damaged.
public struct OutboxRow: Sendable, Equatable {
  public var id: Int64
  /// `request_email`, `request_username`, `reset_email`, `changed_notice` or `webhook`; in a damaged row any text.
  public var kind: String
  /// The address or user name that was typed, the recipient of a notice, or the event and the message id of a webhook.
  public var identifier: String?
  public var userID: UserID?
  public var locale: String?
  public var requestID: String
  public var createdAt: Date
  public var dueAt: Date
  public var attempts = 0
  public var lastError: String?
  /// When the job became a dead letter, or `nil` while it waits.
  public var deadLetteredAt: Date?

  public init(id: Int64, kind: String, requestID: String, createdAt: Date, dueAt: Date) {
    self.id = id
    self.kind = kind
    self.requestID = requestID
    self.createdAt = createdAt
    self.dueAt = dueAt
  }
}

/// Selects rows of the outbox.
public enum OutboxSelection: Sendable {
  case ids([Int64])
  /// The jobs that wait for their next attempt. Those that a process is handling at the moment are not among them.
  case waiting
  /// The jobs that became dead letters before a date.
  case deadLetters(before: Date)
}
