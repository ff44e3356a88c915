import Foundation
import GRDB
import GRDBSQLite
public import PasswordReset

extension SQLiteStore {
  /// Throws unless the database can be read and, as far as is known, written.
  ///
  /// A probe must not slow commits or let the database grow, so it does not write while all is well. The database is
  /// ready if a read works, the files are those that were opened, the process may write them, and the last write did
  /// not fail because of the disk. After such a failure each probe writes a page that changes nothing, until one is on
  /// disk. So the first write notices a disk that fills up while nothing is written. Open connections can still write a
  /// file whose mode changes, but not after a restart, so such a database is not ready. A lock that another program
  /// holds is temporary and does not count.
  public func checkReadiness() async throws(StoreError) {
    try await read { db in _ = try Int.fetchOne(db, sql: "SELECT 1 FROM password_reset_outbox LIMIT 1") }
    do { try SQLiteDatabase(path: pool.path).checkWritable() } catch { throw .unavailable(reason: "\(error)") }
    try await commits.writeIfDiskFailed()
  }

  /// Throws if the connection can only read. SQLite opens a file that it must not write for reading, and does not
  /// report it.
  static func checkWritable(_ writer: Database, path: String) throws(StoreOpenError) {
    guard sqlite3_db_readonly(writer.sqliteConnection, "main") == 0 else {
      throw .notWritable(path: path, reason: "SQLite can only read it")
    }
  }
}
