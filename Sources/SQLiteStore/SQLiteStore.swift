import Foundation
import GRDB
import PasswordReset

/// Users, outbox and audit in one SQLite file, alone or beside an existing Django site.
public struct SQLiteStore: Sendable {
  let pool: DatabasePool
  let commits: GroupCommit
  private let readers: SynchronousReaderPool
  private let files: DatabaseFiles

  /// Opens the file, makes it (readable by its owner only) if there is none, and checks that every safety setting took hold.
  ///
  /// - Parameter onStatement: sees every SQL statement before it runs, without its values.
  /// - Parameter onReplaced: gets the reason, once, when the file is found to be removed or replaced. From then on every call fails as unavailable.
  public init(
    path: String, onStatement: (@Sendable (String) -> Void)? = nil, onReplaced: (@Sendable (String) -> Void)? = nil
  ) throws(StoreOpenError) {
    do {
      try Self.preflight(path)
      try Self.createOwnerOnly(path)
      pool = try Self.openPool(path, Self.configuration(onStatement: onStatement))
      // GRDB turns its writer's sync down to NORMAL when it turns WAL on.
      try pool.writeWithoutTransaction { db in try db.execute(sql: "PRAGMA synchronous = FULL") }
      try pool.read { db in try Self.checkPragmas(db) }
      try pool.barrierWriteWithoutTransaction { db in try Self.checkPragmas(db) }
      try pool.writeWithoutTransaction { db in try Self.checkWritable(db, path: path) }
      files = try pool.writeWithoutTransaction { db in try DatabaseFiles(of: db, path: path, onReplaced: onReplaced) }
      readers = try SynchronousReaderPool(path: path, Self.configuration(busyTimeout: 0, onStatement: onStatement), files)
      try files.check()
    } catch {
      throw StoreOpenError(error, path)
    }
    commits = GroupCommit(pool: pool, files: files)
  }

  /// SQLite does not wait for whoever else turns WAL on at the same moment, so it is waited for here.
  private static func openPool(_ path: String, _ configuration: Configuration) throws -> DatabasePool {
    let deadline = ContinuousClock.now + openingWait
    while true {
      do {
        return try DatabasePool(path: path, configuration: configuration)
      } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY && ContinuousClock.now < deadline {
        usleep(20_000)
      }
    }
  }

  private static let openingWait = Duration.seconds(5)

  /// Reads outside any transaction of the writer.
  func read<Result: Sendable>(_ work: @escaping @Sendable (Database) throws -> Result) async throws(StoreError) -> Result {
    let result: Result
    do {
      result = try await withCheckedThrowingContinuation { continuation in
        pool.asyncRead { db in continuation.resume(with: Swift.Result { try work(db.get()) }) }
      }
    } catch {
      // What was read may have failed because the file is gone, which says more.
      try files.check()
      throw StoreError(error)
    }
    // After the read, as it may have opened a connection.
    try files.check()
    return result
  }

  /// The rows of a query that takes no longer than a change of threads: it blocks the thread for as long.
  func rows<Result: Sendable>(_ query: UserQuery, _ parameter: RawParameter, _ result: @escaping @Sendable (RawRow) -> Result)
    async throws(StoreError) -> [Result]
  {
    do {
      if let rows = try readers.rows(query, parameter, result) { return rows }
    } catch {
      throw StoreError(error)
    }
    // Whoever holds a lock is waited for elsewhere.
    return try await read { db in try db.cachedStatement(sql: query.sql).rows([parameter], result) }
  }

  /// All or nothing, and on disk when it returns. Unlike GRDB's `async` calls it does not stop half-way when the caller is cancelled.
  func write<Result: Sendable>(_ work: @escaping @Sendable (Database) throws -> Result) async throws(StoreError) -> Result {
    try await commits.add(work)
  }
}

/// Why the database cannot be used. The texts are for the operator.
public enum StoreOpenError: Error, Sendable, CustomStringConvertible {
  case cannotOpen(path: String, reason: String)
  /// It can be read, but not written.
  case notWritable(path: String, reason: String)
  /// Somebody else holds it for too long; trying again may help.
  case locked(path: String)
  /// A transaction in it was cut off, and must be taken back by whoever may write.
  case unfinished(path: String)
  /// A setting that keeps promises did not take hold.
  case unsafeSetting(String)
  case damaged(path: String)
  /// SQLite does not understand the schema, which is no sign of damage: a newer SQLite may have written it.
  case unreadableSchema(path: String, reason: String)
  /// The file was written by a newer release.
  case newerSchema
  /// The library lacks what the tables need.
  case oldSQLite(version: String)
  /// There is an `auth_user` that is not Django's.
  case foreignUserTable(missing: [String])
  /// There is an `auth_user` that cannot serve.
  case unusableUserTable(reason: String)
  /// The database is a site's, as the table `found` shows, and has no `auth_user`. `hasUsers`: whether `found` looks like the site's own users.
  case missingUserTable(found: String, hasUsers: Bool)

  public var description: String {
    switch self {
    case .cannotOpen(let path, let reason): "cannot open the database \(path): \(reason); check DATABASE_URL"
    case .notWritable(let path, let reason):
      "the database \(path) cannot be written (\(reason)); check owner and mode of the file and its folder, the user that this runs as, and DATABASE_URL"
    case .locked(let path): "the database \(path) is locked by another program; see which has it open (`fuser`), and try again"
    case .unfinished(let path):
      "the last transaction in the database \(path) was cut off, and must be taken back: `password-reset migrate`, or whatever else writes to it"
    case .unsafeSetting(let setting): "the database does not keep the setting \(setting)"
    case .damaged(let path): "the database \(path) is damaged; restore a backup"
    case .unreadableSchema(let path, let reason):
      "SQLite cannot read the schema of the database \(path): \(reason); see whether the program that made it has a newer SQLite than this one"
    case .newerSchema: "the database was written by a newer release of password-reset; run that release, or restore a backup"
    case .oldSQLite(let version): "SQLite \(version) is too old; at least \(SQLiteStore.minimumVersion) is needed: update the package libsqlite3-0"
    case .foreignUserTable(let missing):
      "the table auth_user is not Django's: it has no column \(missing.joined(separator: ", ")); check DATABASE_URL"
    case .unusableUserTable(let reason):
      "the table auth_user cannot be used: \(reason); the service needs the auth_user of django.contrib.auth. Nothing was changed"
    case .missingUserTable(let found, hasUsers: true):
      "the database has users in the table \(found), but no table auth_user, which the service needs; a user model of the site's own is not supported"
    case .missingUserTable(let found, hasUsers: false):
      """
      the database is a Django site's, as it has the table \(found), but it has no table auth_user, which the service needs; run `manage.py migrate` \
      first, or check DATABASE_URL
      """
    }
  }
}

extension StoreOpenError {
  init(_ error: any Error, _ path: String) {
    if let error = error as? StoreOpenError {
      self = error
    } else if let error = error as? DatabaseError {
      self =
        switch error.extendedResultCode {
        case .SQLITE_READONLY_ROLLBACK: .unfinished(path: path)
        default:
          switch error.resultCode {
          case .SQLITE_BUSY, .SQLITE_LOCKED: .locked(path: path)
          case .SQLITE_CORRUPT where error.message?.hasPrefix("malformed database schema") == true:
            .unreadableSchema(path: path, reason: "\(error.message ?? "")")
          case .SQLITE_CORRUPT: .damaged(path: path)
          default: .cannotOpen(path: path, reason: "\(error)")
          }
        }
    } else {
      self = .cannotOpen(path: path, reason: withoutValues(error))
    }
  }
}

extension StoreError {
  init(_ error: any Error) {
    if let error = error as? StoreError {
      self = error
    } else if let error = error as? DatabaseError {
      // The message and the code, without the statement's values.
      self = .unavailable(reason: "SQLite error \(error.extendedResultCode.rawValue): \(error.message ?? "unknown")")
    } else {
      self = .unavailable(reason: withoutValues(error))
    }
  }
}

/// What GRDB says of a value that it cannot convert has the whole row, with hash and address.
private func withoutValues(_ error: any Error) -> String {
  error is RowDecodingError ? "a value in the database is not of the type that it must have" : "\(error)"
}

extension Row {
  // The typed subscripts of GRDB end the process for a value that they cannot convert, and print the row.

  /// Nil if the column holds no integer.
  func integer(_ column: String) -> Int64? { (self[column] as (any DatabaseValueConvertible)?) as? Int64 }

  /// Nil if the column holds no text.
  func text(_ column: String) -> String? { (self[column] as (any DatabaseValueConvertible)?) as? String }

  func isNull(_ column: String) -> Bool { (self[column] as (any DatabaseValueConvertible)?) == nil }
}

/// Times are kept as whole milliseconds since 1970. A damaged one must not trap, hence the clamp.
extension Date {
  var milliseconds: Int64 { Int64(min(max((timeIntervalSince1970 * 1000).rounded(.down), -0x1p53), 0x1p53)) }

  /// In the years 1 to 9999, beyond which texts of dates go wrong.
  init(milliseconds: Int64) { self.init(timeIntervalSince1970: Double(min(max(milliseconds, -62_135_596_800_000), 253_402_300_799_999)) / 1000) }
}
