import Credentials
public import Foundation
import GRDB
public import PasswordReset

extension SQLiteStore: AuditStore {
  public func append(_ lines: [AuditLine]) async throws(StoreError) {
    try await write { db in
      for line in lines { try Self.insert(line.record, requestID: line.requestID, at: line.at, in: db) }
    }
  }

  public func purgeAudit(before date: Date, limit: Int) async throws(StoreError) -> Int {
    try await write { db in
      try db.execute(
        sql: "DELETE FROM password_reset_audit WHERE id IN (SELECT id FROM password_reset_audit WHERE at < ? ORDER BY at LIMIT ?)",
        arguments: [date.milliseconds, limit])
      return db.changesCount
    }
  }

  /// Adds a line to the audit in the transaction that makes the change.
  static func insert(_ audit: AuditRecord, requestID: String, at now: Date, in db: Database) throws {
    try db.cachedStatement(
      sql: """
        INSERT INTO password_reset_audit (at, event, user_id, identifier_key, client_key, detail, request_id) VALUES (?, ?, ?, ?, ?, ?, ?)
        """
    ).run(
      .integer(now.milliseconds), .text(audit.event.rawValue), RawParameter(audit.userID?.text), RawParameter(audit.identifierKey),
      RawParameter(audit.clientKey), RawParameter(audit.detail), .text(requestID))
  }
}
