import Foundation
import GRDB
public import PasswordReset

extension SQLiteDatabase: DatabaseInspector {
  /// The first release of SQLite with STRICT tables.
  static let minimumVersion = "3.37.0"

  public func inspect(isThorough: Bool) throws(StoreOpenError) -> DatabaseCondition {
    try checkWritable()
    do {
      var configuration = Configuration()
      configuration.readonly = true
      configuration.busyMode = .timeout(5)
      configuration.prepareDatabase { db in try SQLiteStore.prepare(db) }
      return try DatabaseQueue(path: isThorough ? unlockedPath : path, configuration: configuration).read { db in
        try Self.checkVersion(db)
        // Start the transaction's snapshot here, because another process may be about to create the tables.
        _ = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master")
        if isThorough, try Self.isDamaged(db) { throw StoreOpenError.damaged(path: path) }
        let (mapping, isUpToDate) = try SQLiteStore.checkSchema(db, users)
        let damagedUsers = try isThorough ? mapping.map { try SQLiteStore.damagedUsers(UserStatements($0), in: db) } : nil
        return DatabaseCondition(
          hasPendingMigrations: !isUpToDate, users: mapping, damagedUsers: damagedUsers ?? 0, hasAllauth: try db.tableExists("account_emailaddress"),
          risks: try users.afterReset.risks { try db.tableExists($0) })
      }
    } catch {
      throw StoreOpenError(error, path)
    }
  }

  /// Throws unless this process may write the database, its log and the index of the log, or create the latter two.
  ///
  /// This asks the system about owners, modes, attributes and mounts, and changes nothing. It does not find a full
  /// disk.
  func checkWritable() throws(StoreOpenError) {
    // SQLite keeps the log next to the file that a symbolic link leads to.
    let main = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    guard access(main, R_OK | W_OK) == 0 else { throw .notWritable(path: path, reason: "the file: \(String(cString: strerror(errno)))") }
    var isLogComplete = true
    for file in ["-wal", "-shm", "-journal"].map({ main + $0 }) {
      var status = stat()
      guard stat(file, &status) == 0 else {
        if !file.hasSuffix("-journal") { isLogComplete = false }
        continue
      }
      guard status.st_mode & S_IFMT == S_IFREG else { throw .notWritable(path: path, reason: "\(file) is in the way: it is not a file") }
      guard access(file, R_OK | W_OK) == 0 else { throw .notWritable(path: path, reason: "\(file): \(String(cString: strerror(errno)))") }
    }
    if isLogComplete { return }
    let folder = URL(fileURLWithPath: main).deletingLastPathComponent().path
    guard access(folder, W_OK | X_OK) == 0 else {
      throw .notWritable(path: path, reason: "SQLite cannot create its log in the folder \(folder): \(String(cString: strerror(errno)))")
    }
  }

  /// Throws if there is a file that the service cannot write or must not touch, because opening it as a store would
  /// change its journal mode to WAL.
  /// - Returns: the condition of the database, or `nil` if it is a new one.
  @discardableResult func preflight() throws(StoreOpenError) -> DatabaseCondition? {
    let target = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    // A missing or empty file becomes a new database, unless it must have a table already.
    let size = try? FileManager.default.attributesOfItem(atPath: target)[.size] as? Int
    if size ?? 0 == 0, !users.mayBeCreated { throw .missingUserTable(users.name, candidates: [], djangoTable: nil) }
    guard let size else { return nil }
    guard size > 0 else {
      try checkWritable()
      return nil
    }
    do {
      return try inspect(isThorough: false)
    } catch let error where error.kind == .unfinishedTransaction {
      // SQLite rolls the transaction back when a connection that may write reads from the database.
      do { _ = try DatabaseQueue(path: path).read { db in try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") } } catch {
        throw StoreOpenError(error, path)
      }
      return try inspect(isThorough: false)
    }
  }

  /// Reads the whole file, and returns whether SQLite finds damage in it.
  static func isDamaged(_ db: Database) throws -> Bool {
    // The CHECK constraints of the Django site may need functions that SQLite lacks, and a row that breaks one is not
    // damage.
    try db.execute(sql: "PRAGMA ignore_check_constraints = ON")
    do {
      return try String.fetchOne(db, sql: "PRAGMA quick_check(1)") != "ok"
    } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
      // A table needs a function or a collation that only the site's own connections have. Check the other tables one
      // by one.
      let tables = try String.fetchAll(db, sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
      return try tables.contains { table in
        do {
          return try String.fetchOne(db, sql: "PRAGMA quick_check(\(table.quotedIdentifier))") != "ok"
        } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
          return false
        }
      }
    }
  }

  /// The path with which SQLite reads the file and leaves nothing behind.
  ///
  /// Reading a database in WAL mode that no process has open would create an empty log. If there is no log, the file is
  /// complete, and SQLite can read it as immutable. If another process begins to write at this moment, the check may
  /// fail, but does no harm.
  private var unlockedPath: String {
    let isInUse = ["-wal", "-journal"].contains { suffix in
      (try? FileManager.default.attributesOfItem(atPath: path + suffix)[.size] as? Int) ?? 0 > 0
    }
    return isInUse ? path : URL(fileURLWithPath: path).absoluteString + "?immutable=1"
  }

  private static func checkVersion(_ db: Database) throws {
    let version = try String.fetchOne(db, sql: "SELECT sqlite_version()") ?? ""
    if version.compare(minimumVersion, options: .numeric) == .orderedAscending { throw StoreOpenError.oldSQLite(version: version) }
  }
}
