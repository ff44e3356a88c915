import Foundation
import GRDB
import GRDBSQLite
public import PasswordReset

/// Whether the database can be written: before the start, and while the service runs.
extension SQLiteStore {
  /// Throws unless this process may write the database, its log and the index of the log, or make the latter two.
  ///
  /// This asks the system about owners, modes, attributes and mounts, and changes nothing. It does not find a full disk.
  public static func checkWritable(path: String) throws(StoreOpenError) {
    // SQLite keeps the log next to the file that a symbolic link leads to.
    let main = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    guard access(main, W_OK) == 0 else { throw .notWritable(path: path, reason: "the file: \(String(cString: strerror(errno)))") }
    for file in [main + "-wal", main + "-shm"] where access(file, W_OK) != 0 {
      guard errno == ENOENT else { throw .notWritable(path: path, reason: "\(file): \(String(cString: strerror(errno)))") }
      let folder = URL(fileURLWithPath: main).deletingLastPathComponent().path
      guard access(folder, W_OK | X_OK) == 0 else {
        throw .notWritable(path: path, reason: "no log can be made in the folder: \(String(cString: strerror(errno)))")
      }
    }
  }

  /// Throws if the connection can only read. SQLite opens a file for reading where it must not write, and does not say so.
  static func checkWritable(_ writer: Database, path: String) throws(StoreOpenError) {
    guard sqlite3_db_readonly(writer.sqliteConnection, "main") == 0 else {
      throw .notWritable(path: path, reason: "SQLite can only read it")
    }
  }

  /// Throws unless the database can be read and, as far as is known, written.
  ///
  /// A probe must not slow commits or let the database grow, so it does not write while all is well. It is ready if a read works, the files are those
  /// that were opened, the process may write them, and the last attempt to write did not fail because of the disk. After such a failure each probe
  /// writes a page that changes nothing, until one is on disk. So a disk that fills up while nothing is written is noticed by the first write. A file
  /// whose mode changes can still be written by the connections that are open, but not after a restart, and is therefore not ready. A lock that
  /// another program holds passes, and does not count.
  public func checkReadiness() async throws(StoreError) {
    try await read { db in _ = try Int.fetchOne(db, sql: "SELECT 1 FROM password_reset_outbox LIMIT 1") }
    do { try Self.checkWritable(path: pool.path) } catch { throw .unavailable(reason: "\(error)") }
    try await commits.writeIfDiskFailed()
  }
}
