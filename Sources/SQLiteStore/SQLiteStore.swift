import Foundation
import GRDB
public import PasswordReset

/// Users, outbox and audit in one SQLite file, which may be the database of a Django site.
public struct SQLiteStore: Sendable {
  let pool: DatabasePool
  let commits: GroupCommit
  let userTable: UserTable
  let users: UserStatements
  let afterReset: AfterResetStatements
  private let readers: SynchronousReaderPool
  private let files: DatabaseFiles

  /// Opens the file, and checks that every safety setting took effect. If there is no file, it creates one that only
  /// its owner can read.
  ///
  /// - Parameter users: the site's users table.
  /// - Parameter onStatement: receives every SQL statement before it runs, without its values.
  /// - Parameter onReplaced: receives the reason, once, when the store finds that the file was removed or replaced.
  ///   From then on every call fails as unavailable.
  public init(
    path: String, users: UserTable = .django, onStatement: (@Sendable (String) -> Void)? = nil, onReplaced: (@Sendable (String) -> Void)? = nil
  ) throws(StoreOpenError) {
    userTable = users
    do {
      try SQLiteDatabase(path: path, users: users).preflight()
      try Self.createOwnerOnly(path)
      pool = try Self.openPool(path, Self.configuration(onStatement: onStatement))
      // GRDB sets its writer's synchronous mode to NORMAL when it turns WAL on.
      try pool.writeWithoutTransaction { db in try db.execute(sql: "PRAGMA synchronous = FULL") }
      try pool.read { db in try Self.checkPragmas(db) }
      try pool.barrierWriteWithoutTransaction { db in try Self.checkPragmas(db) }
      try pool.writeWithoutTransaction { db in try Self.checkWritable(db, path: path) }
      files = try pool.writeWithoutTransaction { db in try DatabaseFiles(of: db, path: path, onReplaced: onReplaced) }
      let statements = UserStatements(try pool.read { db in try UserTableCheck.mapping(of: users, db) } ?? .django)
      self.users = statements
      afterReset = try pool.read { db in try AfterResetStatements(statements, users.afterReset, db) }
      readers = try SynchronousReaderPool(path: path, Self.configuration(busyTimeout: 0, onStatement: onStatement), self.users, files)
      try files.check()
    } catch {
      throw StoreOpenError(error, path)
    }
    commits = GroupCommit(pool: pool, files: files, userTable: users.name)
  }

  /// Opens the connections. SQLite ignores its busy timeout when another process turns WAL on at the same moment, so
  /// this waits instead.
  private static func openPool(_ path: String, _ configuration: Configuration) throws -> DatabasePool {
    let deadline = ContinuousClock.now + openTimeout
    while true {
      do {
        return try DatabasePool(path: path, configuration: configuration)
      } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY && ContinuousClock.now < deadline {
        usleep(20_000)
      }
    }
  }

  private static let openTimeout = Duration.seconds(5)

  /// Reads in a snapshot, next to the writer.
  func read<Result: Sendable>(_ work: @escaping @Sendable (Database) throws -> Result) async throws(StoreError) -> Result {
    let result: Result
    do {
      result = try await withCheckedThrowingContinuation { continuation in
        pool.asyncRead { db in continuation.resume(with: Swift.Result { try work(db.get()) }) }
      }
    } catch {
      // If the read failed because the file is missing, report that instead.
      try files.check()
      throw StoreError(error)
    }
    // Check after the read, because the read may have opened a connection.
    try files.check()
    return result
  }

  /// Returns the rows of a query that is faster than a switch to another thread. It blocks the calling thread.
  func rows<Result: Sendable>(_ query: UserQuery, _ parameter: RawParameter, _ result: @escaping @Sendable (RawRow) -> Result)
    async throws(StoreError) -> [Result]
  {
    do {
      if let rows = try readers.rows(query, parameter, result) { return rows }
    } catch {
      throw StoreError(error)
    }
    // All readers are busy, or another process holds a lock. Wait for it on another thread.
    return try await read { [users] db in try db.cachedStatement(sql: users.sql(query)).rows([parameter], result) }
  }

  /// Runs `work` in a transaction that is on disk when this returns. Unlike GRDB's `async` calls it completes even if
  /// the caller is cancelled.
  /// - Parameter isAlone: whether the transaction is not shared with other writes.
  func write<Result: Sendable>(isAlone: Bool = false, _ work: @escaping @Sendable (Database) throws -> Result) async throws(StoreError) -> Result {
    try await commits.add(isAlone: isAlone, work)
  }
}
