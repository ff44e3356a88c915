import Credentials
import Foundation
import GRDB
public import PasswordReset

extension SQLiteStore: AuditReader {
  public func auditRows(_ filter: AuditFilter, limit: Int) async throws(StoreError) -> [AuditRow] {
    let (condition, arguments) = Self.condition(filter)
    return try await read { db in
      let rows = try Row.fetchAll(
        db, sql: "SELECT * FROM password_reset_audit WHERE \(condition) ORDER BY at DESC, id DESC LIMIT ?", arguments: arguments + [limit])
      return rows.reversed().map(Self.auditRow)
    }
  }

  public func auditRows(after id: Int64, or others: [Int64], limit: Int) async throws(StoreError) -> [AuditRow] {
    try await read { db in
      let sql = """
        SELECT * FROM password_reset_audit WHERE id > ?1 OR id IN (SELECT value FROM json_each(?2)) ORDER BY id LIMIT ?3
        """
      return try Row.fetchAll(db, sql: sql, arguments: [id, "\(others)", limit]).map(Self.auditRow)
    }
  }

  public func lastAuditID() async throws(StoreError) -> Int64 {
    try await read { db in try Int64.fetchOne(db, sql: "SELECT max(id) FROM password_reset_audit") ?? 0 }
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
    if let keys = filter.clientKeys { add("client_key IN (\(databaseQuestionMarks(count: keys.count)))", StatementArguments(keys)) }
    if let requestID = filter.requestID { add("request_id = ?", [requestID]) }
    if let since = filter.since { add("at >= ?", [since.milliseconds]) }
    return (conditions.joined(separator: " AND "), arguments)
  }

  private static func auditRow(_ row: Row) -> AuditRow {
    var result = AuditRow(
      id: row.integer("id") ?? 0, at: Date(milliseconds: row.integer("at") ?? 0), event: row.text("event") ?? "?",
      userID: row.text("user_id").map(UserID.init(_:)), identifierKey: row.text("identifier_key"), requestID: row.text("request_id") ?? "?")
    (result.clientKey, result.detail) = (row.text("client_key"), row.text("detail"))
    return result
  }
}
