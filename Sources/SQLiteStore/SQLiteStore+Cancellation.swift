public import Credentials
public import Foundation
import GRDB
public import PasswordReset

// What the store does with cancelled links.

extension SQLiteStore {
  public func cancelLinks(_ cancellation: LinkCancellation, at now: Date) async throws(StoreError) -> [Job] {
    try await write { [users] db in
      try db.cachedStatement(
        sql: """
          INSERT INTO password_reset_cancellation (user_id, at) VALUES (?, ?)
          ON CONFLICT (user_id) DO UPDATE SET at = max(at, excluded.at, min(at + 1000, excluded.at + 60000))
          """
      ).run(.text(users.keyText(cancellation.userID)), .integer(cancellation.through.milliseconds))
      let audit = AuditRecord(.cancelled, userID: cancellation.userID, clientKey: cancellation.clientKey)
      try Self.insert(audit, requestID: cancellation.requestID, at: now, in: db)
      return try cancellation.jobs.map { try Self.insert($0, in: db) }
    }
  }

  /// Returns whether the link that allows a change is cancelled. The caller's transaction must be able to write, so that this stays
  /// the same until it ends.
  static func isCancelled(_ change: PasswordChange, _ users: UserStatements, in db: Database) throws -> Bool {
    guard let time = change.linkTime else { return false }
    let sql = "SELECT 1 FROM password_reset_cancellation WHERE user_id = ? AND at >= ?"
    let parameters: [RawParameter] = [.text(users.keyText(change.user.id)), .integer(time.milliseconds)]
    return try !db.cachedStatement(sql: sql).rows(parameters) { _ in true }.isEmpty
  }

  public func purgeCancellations(before time: TokenTime, limit: Int) async throws(StoreError) -> Int {
    try await write { db in
      let sql = """
        DELETE FROM password_reset_cancellation WHERE user_id IN (
          SELECT user_id FROM password_reset_cancellation WHERE at < ? ORDER BY at LIMIT ?
        )
        """
      try db.execute(sql: sql, arguments: [time.milliseconds, limit])
      return db.changesCount
    }
  }
}
