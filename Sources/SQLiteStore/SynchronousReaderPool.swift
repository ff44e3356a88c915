import GRDB
import Synchronization

/// Connections for reads of a few rows by key on the calling thread. Such a read takes a few microseconds, less than a
/// switch to another thread.
///
/// None of them waits for a lock.
final class SynchronousReaderPool: Sendable {
  /// Each connection has files open and pages in memory. A caller that finds none idle uses the store's own pool.
  private static let limit = 16

  private struct State {
    var idle: [SynchronousReader] = []
    var opened = 0
  }

  private let path: String
  private let files: DatabaseFiles
  private let configuration: Configuration
  private let users: UserStatements
  private let state = Mutex(State())

  init(path: String, _ configuration: Configuration, _ users: UserStatements, _ files: DatabaseFiles) throws {
    self.path = path
    self.users = users
    self.files = files
    var configuration = configuration
    // A connection that may write would create a new file where the database was removed.
    configuration.readonly = true
    self.configuration = configuration
    let first = try DatabaseQueue(path: path, configuration: configuration)
    try first.read { db in try SQLiteStore.checkPragmas(db, busyTimeout: 0) }
    let reader = SynchronousReader(first, users)
    state.withLock { $0 = State(idle: [reader], opened: 1) }
  }

  /// Returns what `result` makes of the rows of a query, in their order; `nil` if the read would have to wait for a
  /// lock, or if all connections are busy.
  ///
  /// - Throws: `DatabaseError`, or `StoreError` if the file is no longer the one that was opened.
  func rows<Result>(_ query: UserQuery, _ parameter: RawParameter, _ result: (RawRow) -> Result) throws -> [Result]? {
    guard let reader = take() else { return nil }
    defer { state.withLock { $0.idle.append(reader) } }
    do {
      let rows = try reader.rows(query, parameter, result)
      // A new connection may have opened another file.
      if reader.isNew { try files.check() } else { try files.checkRecently() }
      reader.isNew = false
      return rows
    } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
      return nil
    }
  }

  private func take() -> SynchronousReader? {
    let (reader, opens) = state.withLock { state in
      if let reader = state.idle.popLast() { return (reader as SynchronousReader?, false) }
      guard state.opened < Self.limit else { return (nil, false) }
      state.opened += 1
      return (nil, true)
    }
    guard opens else { return reader }
    // If no more can be opened, make do with the existing ones.
    guard let connection = try? DatabaseQueue(path: path, configuration: configuration) else {
      state.withLock { $0.opened -= 1 }
      return nil
    }
    return SynchronousReader(connection, users)
  }
}

/// One connection with its compiled statements.
///
/// It is `@unchecked Sendable` because GRDB ties a `Statement` to its queue, and steps outside the queue are what makes
/// this reader fast. It is safe because ``SynchronousReaderPool`` gives a reader to one thread at a time: it takes the
/// reader out of the idle list under a lock, and returns it under the lock.
private final class SynchronousReader: @unchecked Sendable {
  /// Whether the pool has not yet checked that this connection has the same file open as the others.
  var isNew = true
  private var statements: [UserQuery: Statement] = [:]
  private let connection: DatabaseQueue
  private let users: UserStatements

  init(_ connection: DatabaseQueue, _ users: UserStatements) {
    self.connection = connection
    self.users = users
  }

  func rows<Result>(_ query: UserQuery, _ parameter: RawParameter, _ result: (RawRow) -> Result) throws -> [Result] {
    try compiled(query).rows([parameter], result)
  }

  private func compiled(_ query: UserQuery) throws -> Statement {
    if let statement = statements[query] { return statement }
    let statement = try connection.unsafeRead { db in try db.makeStatement(sql: users.sql(query)) }
    statements[query] = statement
    return statement
  }
}
