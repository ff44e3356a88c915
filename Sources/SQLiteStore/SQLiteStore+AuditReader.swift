public import Credentials
public import Foundation
import GRDB
public import PasswordReset

/// A line of the audit as the operator sees it, whatever release wrote it.
public struct AuditRow: Sendable {
  public var id: Int64
  public var at: Date
  /// The raw value of an ``AuditEvent``.
  public var event: String
  public var userID: UserID?
  /// A keyed hash of the address or user name.
  public var identifierKey: String?
  public var requestID: String
}

/// Which lines of the audit are meant: those to which all applies that is set.
public struct AuditFilter: Sendable {
  public var event: AuditEvent?
  public var userID: UserID?
  /// One of these.
  public var identifierKeys: [String]?
  public var requestID: String?
  public var since: Date?

  public init() {}
}

extension SQLiteStore {
  /// The newest `limit` lines, oldest first.
  public func auditRows(_ filter: AuditFilter, limit: Int) async throws(StoreError) -> [AuditRow] {
    let (condition, arguments) = Self.condition(filter)
    return try await read { db in
      let rows = try Row.fetchAll(
        db, sql: "SELECT * FROM password_reset_audit WHERE \(condition) ORDER BY at DESC, id DESC LIMIT ?", arguments: arguments + [limit])
      return rows.reversed().map(Self.auditRow)
    }
  }

  /// Deletes up to `limit` lines from before `date`, the oldest first; how many it deleted.
  public func purgeAudit(before date: Date, limit: Int) async throws(StoreError) -> Int {
    try await write { db in
      try db.execute(
        sql: "DELETE FROM password_reset_audit WHERE id IN (SELECT id FROM password_reset_audit WHERE at < ? ORDER BY at LIMIT ?)",
        arguments: [date.milliseconds, limit])
      return db.changesCount
    }
  }

  private static func condition(_ filter: AuditFilter) -> (String, StatementArguments) {
    var conditions = ["true"]
    var arguments = StatementArguments()
    func add(_ condition: String, _ values: StatementArguments) {
      conditions.append(condition)
      arguments += values
    }
    if let event = filter.event { add("event = ?", [event.rawValue]) }
    if let userID = filter.userID { add("user_id = ?", [userID.text]) }
    if let keys = filter.identifierKeys { add("identifier_key IN (\(databaseQuestionMarks(count: keys.count)))", StatementArguments(keys)) }
    if let requestID = filter.requestID { add("request_id = ?", [requestID]) }
    if let since = filter.since { add("at >= ?", [since.milliseconds]) }
    return (conditions.joined(separator: " AND "), arguments)
  }

  private static func auditRow(_ row: Row) -> AuditRow {
    func number(_ column: String) -> Int64? { row.integer(column) }
    func text(_ column: String) -> String? { row.text(column) }
    return AuditRow(
      id: number("id") ?? 0, at: Date(milliseconds: number("at") ?? 0), event: text("event") ?? "?", userID: text("user_id").map(UserID.init(_:)),
      identifierKey: text("identifier_key"), requestID: text("request_id") ?? "?")
  }
}
