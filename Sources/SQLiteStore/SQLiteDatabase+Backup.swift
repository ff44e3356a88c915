import Foundation
import GRDB
public import PasswordReset

extension SQLiteDatabase: DatabaseBackup {
  /// How often the copy reports progress: after four megabytes, with SQLite's usual page size.
  private static let pagesPerStep: CInt = 1000

  /// Copies the database, as it is at one moment, into a new file.
  ///
  /// The backup applies no migration, and other processes need not wait for it, unless the database is a Django site's
  /// that is not in WAL mode yet. The log (`-wal`) keeps what they write until the copy is complete.
  public func backUp(to file: String, onProgress: ((Double) -> Void)?) throws(BackupError) -> BackupSummary {
    let new = try BackupFile(file)
    defer { new.removePartial() }
    do {
      let users = try copy(to: new.partial, onProgress)
      let bytes = try new.publish()
      return BackupSummary(users: users, bytes: bytes)
    } catch let error as BackupError {
      throw error
    } catch let error as DatabaseError where error.resultCode == .SQLITE_CORRUPT {
      throw .database(StoreOpenError(error, path))
    } catch {
      throw .failed(file: file, reason: "\(error)")
    }
  }

  /// Returns the number of users.
  private func copy(to partial: String, _ onProgress: ((Double) -> Void)?) throws -> Int {
    let source = try openForReading()
    return try source.read { source in
      // SQLite starts a copy again when another process writes between two steps; under load the copy would never end.
      // This query takes the transaction's snapshot, which all steps then copy.
      let users = try count(in: source)
      let copy = try DatabaseQueue(path: partial)
      try copy.inDatabase { copy in
        // An incomplete copy is deleted, so its steps need not be durable.
        try copy.execute(sql: "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; \(SQLiteStore.trustsSchema)")
        try source.backup(to: copy, pagesPerStep: Self.pagesPerStep) { progress in
          onProgress?(Double(progress.completedPageCount) / Double(max(1, progress.totalPageCount)))
        }
        // The header of the copy says WAL, as in the source. Without a log the copy is a single file; the service turns
        // WAL on again.
        guard try String.fetchOne(copy, sql: "PRAGMA journal_mode = DELETE") == "delete" else {
          throw StoreOpenError.unsafeSetting("journal_mode=delete")
        }
        if try Self.isDamaged(copy) { throw BackupError.database(.damaged(path: path)) }
      }
      try copy.close()
      return users
    }
  }

  private func openForReading() throws(BackupError) -> DatabaseQueue {
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(5)
    configuration.prepareDatabase { db in try db.execute(sql: SQLiteStore.trustsSchema) }
    do {
      return try DatabaseQueue(path: path, configuration: configuration)
    } catch {
      throw .database(StoreOpenError(error, path))
    }
  }

  private func count(in db: Database) throws(BackupError) -> Int {
    do {
      return try Int.fetchOne(db, sql: "SELECT count(*) FROM \(users.name.quotedIdentifier)") ?? 0
    } catch {
      throw .database(StoreOpenError(error, path))
    }
  }
}
