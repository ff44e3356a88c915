import Foundation
import GRDB

extension SQLiteStore {
  /// The first release with tables that are STRICT.
  static let minimumVersion = "3.37.0"

  /// Looks at a database file without changing it.
  ///
  /// Throws ``StoreOpenError`` if it is no database, or one that this release must not touch.
  /// - Parameter isThorough: whether all of it is read, to find damage.
  /// - Returns: whether migrations are pending.
  public static func inspect(path: String, isThorough: Bool) throws(StoreOpenError) -> Bool {
    do {
      var configuration = Configuration()
      configuration.readonly = true
      configuration.busyMode = .timeout(5)
      configuration.prepareDatabase { db in try db.execute(sql: trustsSchema) }
      return try DatabaseQueue(path: isThorough ? unlocked(path) : path, configuration: configuration).read { db in
        try checkVersion(db)
        // From here on the tables stay as they are, for this transaction: another process may be about to make them.
        _ = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master")
        if isThorough, try isDamaged(db) { throw StoreOpenError.damaged(path: path) }
        return try !checkSchema(db)
      }
    } catch {
      throw StoreOpenError(error, path)
    }
  }

  /// Whether SQLite finds damage in the file, all of which it reads.
  static func isDamaged(_ db: Database) throws -> Bool {
    // Damage is what the check looks for, not whether rows keep the CHECKs of the Django site, for which SQLite may lack functions.
    try db.execute(sql: "PRAGMA ignore_check_constraints = ON")
    do {
      return try String.fetchOne(db, sql: "PRAGMA quick_check(1)") != "ok"
    } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
      // A table needs a function or a collation that only the site's own connections have. The others can be checked one by one.
      let tables = try String.fetchAll(db, sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
      return try tables.contains { table in
        do {
          return try String.fetchOne(db, sql: "PRAGMA quick_check(\(table.quotedDatabaseIdentifier))") != "ok"
        } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
          return false
        }
      }
    }
  }

  /// A look at a database in WAL mode that nobody has open would leave an empty log beside it. Where there is no log all is in the file, and SQLite
  /// can be told to take it for one that nobody writes: should somebody begin to just now, the look may be in vain, but does no harm.
  private static func unlocked(_ path: String) -> String {
    let isInUse = ["-wal", "-journal"].contains { suffix in
      (try? FileManager.default.attributesOfItem(atPath: path + suffix)[.size] as? Int) ?? 0 > 0
    }
    return isInUse ? path : URL(fileURLWithPath: path).absoluteString + "?immutable=1"
  }

  /// Throws if there is a file that cannot be written, or must not be touched: opening it for good would turn its journal to WAL.
  static func preflight(_ path: String) throws(StoreOpenError) {
    let target = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    // One that is empty, or not there, is about to be made.
    guard let size = try? FileManager.default.attributesOfItem(atPath: target)[.size] as? Int, size > 0 else { return }
    try checkWritable(path: path)
    do {
      _ = try inspect(path: path, isThorough: false)
    } catch .unfinished {
      // SQLite takes the transaction back for whoever may write and reads.
      do { _ = try DatabaseQueue(path: path).read { db in try db.tableExists("auth_user") } } catch { throw StoreOpenError(error, path) }
      _ = try inspect(path: path, isThorough: false)
    }
  }

  private static func checkVersion(_ db: Database) throws {
    let version = try String.fetchOne(db, sql: "SELECT sqlite_version()") ?? ""
    if version.compare(minimumVersion, options: .numeric) == .orderedAscending { throw StoreOpenError.oldSQLite(version: version) }
  }
}
