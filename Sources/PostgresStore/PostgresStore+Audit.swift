import Credentials
public import Foundation
public import PasswordReset

extension PostgresStore: AuditStore, AuditReader {
  private static let insertLine = Statement(
    "password_reset_audit",
    """
    INSERT INTO password_reset.audit (at, event, user_id, identifier_key, request_id, client_key, detail)
    VALUES ($1::bigint, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text)
    """)

  public func append(_ lines: [AuditLine]) async throws(StoreError) {
    _ = try await write(lines.map(Self.insertion))
  }

  /// Returns the command that adds a line.
  static func insertion(of line: AuditLine) -> Command {
    Command(
      insertLine, line.at.milliseconds, line.record.event.rawValue, line.record.userID?.text, line.record.identifierKey, line.requestID,
      line.record.clientKey, line.record.detail)
  }

  public func purgeAudit(before date: Date, limit: Int) async throws(StoreError) -> Int {
    let sql = """
      DELETE FROM password_reset.audit WHERE id = ANY (ARRAY(
        SELECT id FROM password_reset.audit WHERE at < $1::bigint ORDER BY at LIMIT $2::bigint)) AND \(Self.isOnlyPurge(of: "audit"))
      """
    return try await write(Command(Statement("password_reset_purge_audit", sql), date.milliseconds, limit)).changes
  }

  private static let select = "SELECT id, at, event, user_id, identifier_key, request_id, client_key, detail FROM password_reset.audit"

  public func auditRows(_ filter: AuditFilter, limit: Int) async throws(StoreError) -> [AuditRow] {
    let sql = """
      \(Self.select)
      WHERE ($1::text IS NULL OR event = $1) AND ($2::text IS NULL OR user_id = $2)
        AND ($3::json IS NULL OR identifier_key IN (SELECT json_array_elements_text($3)))
        AND ($4::text IS NULL OR request_id = $4) AND ($5::bigint IS NULL OR at >= $5)
        AND ($7::json IS NULL OR client_key IN (SELECT json_array_elements_text($7)))
      ORDER BY at DESC, id DESC LIMIT $6::bigint
      """
    let rows = try await read(
      Command(
        Statement(nil, sql), filter.event?.rawValue, filter.userID?.text, filter.identifierKeys.map(Self.json), filter.requestID,
        filter.since?.milliseconds, limit, filter.clientKeys.map(Self.json)))
    return rows.map(Self.auditRow).reversed()
  }

  public func auditRows(after id: Int64, or others: [Int64], limit: Int) async throws(StoreError) -> [AuditRow] {
    // Each part uses the primary key, which a condition with OR may not.
    let sql = """
      SELECT * FROM (
        (\(Self.select) WHERE id > $1::bigint ORDER BY id LIMIT $3::bigint)
        UNION ALL (\(Self.select) WHERE id = ANY ($2::bigint[]) AND id <= $1::bigint)
      ) AS lines ORDER BY id LIMIT $3::bigint
      """
    return try await read(Command(Statement(nil, sql), id, others, limit)).map(Self.auditRow)
  }

  public func lastAuditID() async throws(StoreError) -> Int64 {
    try await read(Command(Statement(nil, "SELECT max(id) FROM password_reset.audit"))).first?.integer(0) ?? 0
  }

  /// Returns a JSON array of keys, which are hexadecimal.
  private static func json(_ keys: [String]) -> String { "[\(keys.map { "\"\($0)\"" }.joined(separator: ","))]" }

  private static func auditRow(_ row: Row) -> AuditRow {
    var result = AuditRow(
      id: row.integer(0) ?? 0, at: Date(milliseconds: row.integer(1) ?? 0), event: row.text(2) ?? "?", userID: row.text(3).map(UserID.init(_:)),
      identifierKey: row.text(4), requestID: row.text(5) ?? "?")
    (result.clientKey, result.detail) = (row.text(6), row.text(7))
    return result
  }
}
