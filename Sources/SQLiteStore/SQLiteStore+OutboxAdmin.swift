import Credentials
public import Foundation
import GRDB
public import PasswordReset

extension SQLiteStore: OutboxAdmin {
  public func outboxCounts() async throws(StoreError) -> OutboxCounts {
    try await read { db in
      let counts = try Row.fetchOne(
        db,
        sql: """
          SELECT count(*) - count(dead_lettered_at) AS waiting, count(dead_lettered_at) AS dead,
            min(created_at) FILTER (WHERE dead_lettered_at IS NULL AND kind <> '\(JobKind.webhookKind)') AS oldest
          FROM password_reset_outbox
          """)
      return OutboxCounts(
        waiting: Int(counts?.integer("waiting") ?? 0), oldest: counts?.integer("oldest").map(Date.init(milliseconds:)),
        dead: Int(counts?.integer("dead") ?? 0))
    }
  }

  public func outboxRows(after id: Int64?, limit: Int, deadLettersOnly: Bool) async throws(StoreError) -> [OutboxRow] {
    let condition = deadLettersOnly ? "AND dead_lettered_at IS NOT NULL" : ""
    return try await read { db in
      try Row.fetchAll(
        db, sql: "SELECT * FROM password_reset_outbox WHERE id > ? \(condition) ORDER BY id LIMIT ?", arguments: [id ?? .min, limit]
      ).map(Self.outboxRow)
    }
  }

  public func outboxRow(id: Int64) async throws(StoreError) -> OutboxRow? {
    try await read { db in
      try Row.fetchOne(db, sql: "SELECT * FROM password_reset_outbox WHERE id = ?", arguments: [id]).map(Self.outboxRow)
    }
  }

  public func retryOutbox(_ selection: OutboxSelection, at now: Date) async throws(StoreError) -> Int {
    let (condition, arguments) = Self.condition(selection)
    return try await write { db in
      try db.execute(
        sql: "UPDATE password_reset_outbox SET dead_lettered_at = NULL, owner = NULL, retried_at = ?, due_at = ? WHERE \(condition)",
        arguments: [now.milliseconds, now.milliseconds] + arguments)
      return db.changesCount
    }
  }

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
    case .waiting: ("dead_lettered_at IS NULL AND owner IS NULL", [])
    case .deadLetters(let date): ("dead_lettered_at < ?", [date.milliseconds])
    }
  }

  private static func outboxRow(_ row: Row) -> OutboxRow {
    func date(_ column: String) -> Date? { row.integer(column).map(Date.init(milliseconds:)) }
    let zero = Date(milliseconds: 0)
    var result = OutboxRow(
      id: row.integer("id") ?? 0, kind: row.text("kind") ?? "?", requestID: row.text("request_id") ?? "?",
      createdAt: date("created_at") ?? zero, dueAt: date("due_at") ?? zero)
    result.identifier = row.text("identifier")
    result.userID = row.text("user_id").map(UserID.init(_:))
    result.locale = row.text("locale")
    result.attempts = Int(row.integer("attempts") ?? 0)
    result.lastError = row.text("last_error")
    result.deadLetteredAt = date("dead_lettered_at")
    return result
  }
}
