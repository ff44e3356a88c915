import Credentials
public import Foundation
public import PasswordReset

extension PostgresStore: OutboxAdmin {
  private static let counts = Statement(
    "password_reset_counts",
    """
    SELECT count(*) - count(dead_lettered_at), count(dead_lettered_at),
      min(created_at) FILTER (WHERE dead_lettered_at IS NULL AND kind <> '\(JobKind.webhookKind)')
    FROM password_reset.outbox
    """)

  public func outboxCounts() async throws(StoreError) -> OutboxCounts {
    let row = try await read(Command(Self.counts)).first
    return OutboxCounts(
      waiting: Int(row?.integer(0) ?? 0), oldest: row?.integer(2).map(Date.init(milliseconds:)), dead: Int(row?.integer(1) ?? 0))
  }

  public func outboxRows(after id: Int64?, limit: Int, deadLettersOnly: Bool) async throws(StoreError) -> [OutboxRow] {
    let sql = """
      SELECT \(JobColumns.list) FROM password_reset.outbox WHERE id > $1::bigint AND (NOT $2::boolean OR dead_lettered_at IS NOT NULL)
      ORDER BY id LIMIT $3::bigint
      """
    return try await read(Command(Statement(nil, sql), id ?? .min, deadLettersOnly, limit)).map(Self.outboxRow)
  }

  public func outboxRow(id: Int64) async throws(StoreError) -> OutboxRow? {
    let sql = "SELECT \(JobColumns.list) FROM password_reset.outbox WHERE id = $1::bigint"
    return try await read(Command(Statement(nil, sql), id)).first.map(Self.outboxRow)
  }

  public func retryOutbox(_ selection: OutboxSelection, at now: Date) async throws(StoreError) -> Int {
    let (condition, value) = Self.condition(selection)
    let sql = """
      UPDATE password_reset.outbox SET dead_lettered_at = NULL, owner = NULL, retried_at = $2::bigint, due_at = $2::bigint WHERE \(condition)
      """
    let notifications = JobChannel.allCases.map { JobListener.notify($0, origin: origin) }
    return try await write([Command(Statement(nil, sql), value, now.milliseconds)] + notifications)[0].changes
  }

  public func purgeOutbox(_ selection: OutboxSelection, limit: Int) async throws(StoreError) -> Int {
    let (condition, value) = Self.condition(selection)
    let sql = """
      DELETE FROM password_reset.outbox WHERE id = ANY (ARRAY(
        SELECT id FROM password_reset.outbox WHERE \(condition) LIMIT $2::bigint FOR UPDATE SKIP LOCKED))
      """
    return try await write(Command(Statement(nil, sql), value, limit)).changes
  }

  /// Returns a condition with the parameter `$1`, and its value.
  private static func condition(_ selection: OutboxSelection) -> (String, String?) {
    switch selection {
    case .ids(let ids): ("id = ANY ($1::bigint[])", ids.postgresText)
    case .waiting: ("dead_lettered_at IS NULL AND owner IS NULL AND $1::text IS NULL", nil)
    case .deadLetters(let date): ("dead_lettered_at < $1::bigint", date.milliseconds.postgresText)
    }
  }

  private static func outboxRow(_ row: Row) -> OutboxRow {
    func date(_ column: Int) -> Date? { row.integer(column).map(Date.init(milliseconds:)) }
    let zero = Date(milliseconds: 0)
    var result = OutboxRow(
      id: row.integer(0) ?? 0, kind: row.text(1) ?? "?", requestID: row.text(5) ?? "?", createdAt: date(6) ?? zero, dueAt: date(7) ?? zero)
    result.identifier = row.text(2)
    result.userID = row.text(3).map(UserID.init(_:))
    result.locale = row.text(4)
    result.attempts = Int(row.integer(8) ?? 0)
    result.lastError = row.text(9)
    result.deadLetteredAt = date(10)
    return result
  }
}
