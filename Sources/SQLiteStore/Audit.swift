import Foundation
import GRDB
import PasswordReset

extension SQLiteStore {
  static func insert(_ audit: AuditRecord, requestID: String, at now: Date, in db: Database) throws {
    try db.execute(
      sql: "INSERT INTO password_reset_audit (at, event, user_id, identifier_key, request_id) VALUES (?, ?, ?, ?, ?)",
      arguments: [now.milliseconds, audit.event.rawValue, audit.userID, audit.identifierKey, requestID])
  }
}
