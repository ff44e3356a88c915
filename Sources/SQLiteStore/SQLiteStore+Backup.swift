import Foundation
import GRDB

/// Why there is no backup. The texts are for the operator.
public enum BackupError: Error, Sendable, CustomStringConvertible {
  /// The database cannot be read, or is damaged.
  case database(StoreOpenError)
  /// A file is in the way.
  case fileExists(String)
  case failed(file: String, reason: String)

  public var description: String {
    switch self {
    case .database(let error): error.description
    case .fileExists(let file): "\(file) is there already, and is not written over; name another file, or remove that one"
    case .failed(let file, let reason): "the backup to \(file) failed: \(reason)"
    }
  }
}

extension SQLiteStore {
  /// Four megabytes, as SQLite's pages usually are: how often progress is told of.
  private static let pagesPerStep: CInt = 1000

  /// Copies a database as it is at one moment into a new file, while others read and write it.
  ///
  /// The file appears when it is whole, checked and on disk, or not at all, and its owner alone may read it. The database is only read: no
  /// migration, and nobody who writes waits, unless it is a Django site's that is not in WAL mode yet. What is written meanwhile stays in its log (`-wal`)
  /// until the copy is done.
  ///
  /// - Parameter onProgress: hears which share is copied, from 0 to 1.
  /// - Returns: how many users are in it, and its size.
  public static func backUp(path: String, to file: String, onProgress: ((Double) -> Void)? = nil) throws(BackupError) -> (users: Int, bytes: Int) {
    let new = try NewFile(file)
    defer { new.removePartial() }
    do {
      let users = try copyDatabase(path, to: new.partial, onProgress)
      let bytes = try new.publish()
      return (users, bytes)
    } catch let error as BackupError {
      throw error
    } catch let error as DatabaseError where error.resultCode == .SQLITE_CORRUPT {
      throw .database(StoreOpenError(error, path))
    } catch {
      throw .failed(file: file, reason: "\(error)")
    }
  }

  /// Returns how many users there are.
  private static func copyDatabase(_ path: String, to partial: String, _ onProgress: ((Double) -> Void)?) throws -> Int {
    let source = try openForReading(path)
    return try source.read { source in
      // SQLite starts a copy over whenever another process has written between two steps: under load, for ever. This query takes the snapshot of the
      // transaction that all steps are in, and in which nothing changes.
      let users = try count(in: source, path)
      let copy = try DatabaseQueue(path: partial)
      try copy.inDatabase { copy in
        // Half a copy is thrown away, so none of its steps need be safe.
        try copy.execute(sql: "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; \(trustsSchema)")
        try source.backup(to: copy, pagesPerStep: pagesPerStep) { progress in
          onProgress?(Double(progress.completedPageCount) / Double(max(1, progress.totalPageCount)))
        }
        // The copy says of itself that it has a log, as its source has. Without one it is a single file; the service turns the log on again.
        guard try String.fetchOne(copy, sql: "PRAGMA journal_mode = DELETE") == "delete" else {
          throw StoreOpenError.unsafeSetting("journal_mode=delete")
        }
        if try isDamaged(copy) { throw BackupError.database(.damaged(path: path)) }
      }
      try copy.close()
      return users
    }
  }

  private static func openForReading(_ path: String) throws(BackupError) -> DatabaseQueue {
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(5)
    configuration.prepareDatabase { db in try db.execute(sql: trustsSchema) }
    do {
      return try DatabaseQueue(path: path, configuration: configuration)
    } catch {
      throw .database(StoreOpenError(error, path))
    }
  }

  private static func count(in db: Database, _ path: String) throws(BackupError) -> Int {
    do {
      return try Int.fetchOne(db, sql: "SELECT count(*) FROM auth_user") ?? 0
    } catch {
      throw .database(StoreOpenError(error, path))
    }
  }
}

/// A file that is written under another name, in the same folder, until it is whole.
private struct NewFile {
  /// What SQLite may keep beside a database.
  private static let companions = ["-wal", "-shm", "-journal"]

  let name: String
  let partial: String

  /// Makes the partial file, for its owner alone.
  init(_ name: String) throws(BackupError) {
    // SQLite would take what another database of that name left behind for the new one's.
    for name in [name] + Self.companions.map({ name + $0 }) where FileManager.default.fileExists(atPath: name) { throw .fileExists(name) }
    self.name = name
    partial = "\(name).partial-\(UUID().uuidString.prefix(8))"
    let descriptor = open(partial, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw failure() }
    close(descriptor)
  }

  /// Brings the file to the disk and gives it its name; its size. Only one file can get a name, so that none is written over, as a rename might.
  func publish() throws(BackupError) -> Int {
    let bytes = try sync(partial)
    try takeName()
    // The file is there, whatever the folder says: one that may not be read cannot be synced.
    _ = try? sync(URL(fileURLWithPath: name).deletingLastPathComponent().path)
    return bytes
  }

  private func takeName() throws(BackupError) {
    if link(partial, name) == 0 {
      unlink(partial)
      return
    }
    guard errno == EPERM || errno == EOPNOTSUPP else { throw errno == EEXIST ? BackupError.fileExists(name) : failure() }
    // A file system without links, such as exFAT: an empty file of ours holds the name until the whole one takes its place.
    let descriptor = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw errno == EEXIST ? BackupError.fileExists(name) : failure() }
    close(descriptor)
    guard rename(partial, name) == 0 else {
      let failure = failure()
      unlink(name)
      throw failure
    }
  }

  func removePartial() {
    for name in [partial] + Self.companions.map({ partial + $0 }) { unlink(name) }
  }

  /// Brings a file, or the names in a folder, to the disk; its size.
  @discardableResult
  private func sync(_ path: String) throws(BackupError) -> Int {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure() }
    defer { close(descriptor) }
    // EINVAL: some file systems cannot sync a folder.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw failure() }
    return Int(lseek(descriptor, 0, SEEK_END))
  }

  private func failure() -> BackupError { .failed(file: name, reason: String(cString: strerror(errno))) }
}
