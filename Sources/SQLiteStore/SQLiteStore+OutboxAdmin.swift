public import Credentials
public import Foundation
import GRDB
public import PasswordReset

/// A row of the outbox as the operator sees it, damaged ones too.
public struct OutboxRow: Sendable {
  public var id: Int64
  /// `request_email`, `request_username`, `reset_email` or `changed_notice`.
  public var kind: String
  /// What was typed, or the recipient of a notice.
  public var identifier: String?
  public var userID: UserID?
  public var locale: String?
  public var requestID: String
  public var createdAt: Date
  public var dueAt: Date
  public var attempts: Int
  public var lastError: String?
  /// When it became a dead letter, or `nil` while it waits.
  public var deadLetteredAt: Date?
}

/// Which rows of the outbox are meant.
public enum OutboxSelection: Sendable {
  case ids([Int64])
  /// The letters that died before a date.
  case deadLetters(before: Date)
}

/// What the commands for the outbox do.
extension SQLiteStore {
  /// Returns how many jobs wait, since when the oldest of them has waited, and how many dead letters there are.
  public func outboxCounts() async throws(StoreError) -> (waiting: Int, oldest: Date?, dead: Int) {
    try await read { db in
      let counts = try Row.fetchOne(
        db,
        sql: """
          SELECT count(*) - count(dead_lettered_at) AS waiting, count(dead_lettered_at) AS dead, min(created_at) FILTER (WHERE dead_lettered_at IS NULL) AS oldest
          FROM password_reset_outbox
          """)
      return (
        Int(counts?.integer("waiting") ?? 0), counts?.integer("oldest").map(Date.init(milliseconds:)), Int(counts?.integer("dead") ?? 0)
      )
    }
  }

  /// Up to `limit` rows with keys above `after`, in their order; dead letters alone if asked for.
  public func outboxRecords(after: Int64 = 0, limit: Int, deadLettersOnly: Bool = false) async throws(StoreError) -> [OutboxRow] {
    let condition = deadLettersOnly ? "AND dead_lettered_at IS NOT NULL" : ""
    return try await read { db in
      try Row.fetchAll(db, sql: "SELECT * FROM password_reset_outbox WHERE id > ? \(condition) ORDER BY id LIMIT ?", arguments: [after, limit])
        .map(Self.outboxRecord)
    }
  }

  /// The row with this key; nil if there is none.
  public func outboxRecord(id: Int64) async throws(StoreError) -> OutboxRow? {
    try await read { db in
      try Row.fetchOne(db, sql: "SELECT * FROM password_reset_outbox WHERE id = ?", arguments: [id]).map(Self.outboxRecord)
    }
  }

  /// Makes jobs due at once, dead letters included, with a new time to live. Returns how many there were.
  public func retryOutbox(_ selection: OutboxSelection, at now: Date) async throws(StoreError) -> Int {
    let (condition, arguments) = Self.condition(selection)
    return try await write { db in
      try db.execute(
        sql: "UPDATE password_reset_outbox SET dead_lettered_at = NULL, owner = NULL, retried_at = ?, due_at = ? WHERE \(condition)",
        arguments: [now.milliseconds, now.milliseconds] + arguments)
      return db.changesCount
    }
  }

  /// Deletes up to `limit` rows; how many it deleted.
  public func purgeOutbox(_ selection: OutboxSelection, limit: Int) async throws(StoreError) -> Int {
    let (condition, arguments) = Self.condition(selection)
    return try await write { db in
      try db.execute(
        sql: "DELETE FROM password_reset_outbox WHERE id IN (SELECT id FROM password_reset_outbox WHERE \(condition) LIMIT ?)",
        arguments: arguments + [limit])
      return db.changesCount
    }
  }

  private static func condition(_ selection: OutboxSelection) -> (String, StatementArguments) {
    switch selection {
    case .ids(let ids): ("id IN (\(databaseQuestionMarks(count: ids.count)))", StatementArguments(ids))
    case .deadLetters(let date): ("dead_lettered_at < ?", [date.milliseconds])
    }
  }

  private static func outboxRecord(_ row: Row) -> OutboxRow {
    func number(_ column: String) -> Int64? { row.integer(column) }
    func text(_ column: String) -> String? { row.text(column) }
    return OutboxRow(
      id: number("id") ?? 0, kind: text("kind") ?? "?", identifier: text("identifier"), userID: text("user_id").map(UserID.init(_:)),
      locale: text("locale"),
      requestID: text("request_id") ?? "?", createdAt: Date(milliseconds: number("created_at") ?? 0),
      dueAt: Date(milliseconds: number("due_at") ?? 0),
      attempts: Int(number("attempts") ?? 0), lastError: text("last_error"), deadLetteredAt: number("dead_lettered_at").map(Date.init(milliseconds:)))
  }
}
