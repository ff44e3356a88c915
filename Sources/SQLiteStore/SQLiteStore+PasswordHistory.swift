public import Credentials
import Foundation
import GRDB
public import PasswordReset

extension SQLiteStore: PasswordHistoryStore {
  public func formerPasswords(of id: UserID, limit: Int) async throws(StoreError) -> [String] {
    try await read { db in
      try String.fetchAll(
        db, sql: "SELECT password FROM password_reset_password_history WHERE user_id = ? ORDER BY id DESC LIMIT ?", arguments: [id.text, limit])
    }
  }

  public func usersWithFormerPasswords(after id: UserID?, limit: Int) async throws(StoreError) -> [UserID] {
    try await read { db in
      try String.fetchAll(
        db, sql: "SELECT DISTINCT user_id FROM password_reset_password_history WHERE user_id > ? ORDER BY user_id LIMIT ?",
        arguments: [id?.text ?? "", limit])
    }.map(UserID.init(_:))
  }

  public func deleteFormerPasswords(of id: UserID) async throws(StoreError) {
    try await write { db in try db.execute(sql: "DELETE FROM password_reset_password_history WHERE user_id = ?", arguments: [id.text]) }
  }

  /// Adds the password that a change replaces to the former ones, and deletes those that are too old.
  static func keepFormerPassword(of change: PasswordChange, at now: Date, in db: Database) throws {
    guard change.formerPasswordsToKeep > 0 else { return }
    try db.execute(
      sql: "INSERT INTO password_reset_password_history (user_id, password, at) VALUES (?, ?, ?)",
      arguments: [change.user.id.text, change.user.password, now.milliseconds])
    try db.execute(
      sql: """
        DELETE FROM password_reset_password_history WHERE user_id = ?1 AND id NOT IN (
          SELECT id FROM password_reset_password_history WHERE user_id = ?1 ORDER BY id DESC LIMIT ?2
        )
        """, arguments: [change.user.id.text, change.formerPasswordsToKeep])
  }
}
