import Dispatch
import Foundation
import GRDB
import GRDBSQLite
import PasswordReset
import Synchronization

/// Checks that the files that the connections have open are still the files with those names.
///
/// SQLite reads and writes an open file even after someone removes it or moves another one over it. What is committed
/// then is not in the file of that name, and ends with the process. Connections that are opened later would use another
/// file than the first ones. For this reason the check is final: once a file has been replaced, the store stays
/// unavailable until the process is restarted. The process stays up, because what was committed before can be recovered
/// from `/proc/PID/fd` as long as it runs.
///
/// The check compares device and inode, so it does not notice a file that is overwritten in place. It only notices one
/// that was emptied.
final class DatabaseFiles: Sendable {
  private struct Identity: Equatable {
    var device: UInt64
    var inode: UInt64
  }

  private struct File {
    var path: String
    var identity: Identity
  }

  /// For this many nanoseconds ``checkRecently()`` trusts the last check.
  private static let trustedAge: UInt64 = 1_000_000

  /// The database by the name that it was opened with, which may be a symbolic link, then the log and its index.
  private let files: [File]
  private let reason: String
  private let onReplaced: (@Sendable (String) -> Void)?
  private let isReplaced = Atomic(false)
  private let lastCheck = Atomic<UInt64>(0)

  /// Remembers which files the writer has open.
  ///
  /// - Parameter writer: a connection in WAL mode that has read something, so that it has all its files open.
  /// - Parameter onReplaced: gets the reason when a file is found to be replaced. It is called once.
  init(of writer: Database, path: String, onReplaced: (@Sendable (String) -> Void)?) throws {
    // SQLite keeps the log next to the file that a symbolic link leads to.
    let main = sqlite3_db_filename(writer.sqliteConnection, "main").map { String(cString: $0) } ?? path
    do {
      files = try [path, main + "-wal", main + "-shm"].map { File(path: $0, identity: try Self.identity(of: $0)) }
    } catch {
      throw StoreOpenError.cannotOpen(path: path, reason: "\(error)")
    }
    // The identities are those of the names; this compares the name with what the connection has open.
    var hasMoved: CInt = 0
    sqlite3_file_control(writer.sqliteConnection, "main", SQLITE_FCNTL_HAS_MOVED, &hasMoved)
    guard hasMoved == 0 else { throw StoreOpenError.cannotOpen(path: path, reason: "the file was replaced while it was being opened") }
    reason = "the database file \(path) was replaced or removed while the service was running; restart the service"
    self.onReplaced = onReplaced
  }

  /// Throws if one of the files is no longer the file of its name.
  func check() throws(StoreError) {
    if isReplaced.load(ordering: .relaxed) { throw .unavailable(reason: reason) }
    for file in files {
      let identity: Identity
      do {
        identity = try Self.identity(of: file.path)
      } catch let error where error.isMissing {
        throw noteReplacement()
      } catch {
        // It may still be the same file, so this is not final.
        throw .unavailable(reason: "cannot check the file \(file.path): \(error)")
      }
      guard identity == file.identity else { throw noteReplacement() }
    }
    lastCheck.store(DispatchTime.now().uptimeNanoseconds, ordering: .relaxed)
  }

  /// Does the same as ``check()``, but at most once a millisecond, because a check costs three system calls, as much as
  /// a read of one row.
  ///
  /// It is for reads on connections that were already checked: a result from a replaced file is at most one millisecond
  /// late.
  func checkRecently() throws(StoreError) {
    guard DispatchTime.now().uptimeNanoseconds &- lastCheck.load(ordering: .relaxed) > Self.trustedAge else {
      if isReplaced.load(ordering: .relaxed) { throw .unavailable(reason: reason) }
      return
    }
    try check()
  }

  private func noteReplacement() -> StoreError {
    if !isReplaced.exchange(true, ordering: .relaxed) { onReplaced?(reason) }
    return .unavailable(reason: reason)
  }

  private static func identity(of path: String) throws(FileFault) -> Identity {
    var status = stat()
    guard stat(path, &status) == 0 else { throw FileFault(code: errno) }
    // A database in WAL mode has at least one page, so an empty file was truncated. The log may be empty.
    if status.st_size == 0, !path.hasSuffix("-wal") { throw FileFault(code: ENOENT) }
    return Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
  }
}

/// Why a file cannot be checked.
private struct FileFault: Error, CustomStringConvertible {
  /// The value of `errno`.
  var code: CInt

  /// Whether there is no file with this name.
  var isMissing: Bool { code == ENOENT || code == ENOTDIR }

  var description: String { String(cString: strerror(code)) }
}
