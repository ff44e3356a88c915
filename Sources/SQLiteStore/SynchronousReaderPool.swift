import GRDB
import Synchronization

/// Connections for reads of a few rows by key, done on the thread that asks: they take some microseconds, and a change of threads takes more.
///
/// None of them waits for a lock.
final class SynchronousReaderPool: Sendable {
  /// Each has files open and pages in memory; whoever finds none of them idle uses the pool.
  private static let limit = 16

  private struct State {
    var idle: [SynchronousReader] = []
    var opened = 0
  }

  private let path: String
  private let files: DatabaseFiles
  private let configuration: Configuration
  private let state = Mutex(State())

  init(path: String, _ configuration: Configuration, _ files: DatabaseFiles) throws {
    self.path = path
    self.files = files
    var configuration = configuration
    // One that may write would make a new file where the database was removed.
    configuration.readonly = true
    self.configuration = configuration
    let first = try DatabaseQueue(path: path, configuration: configuration)
    try first.read { db in try SQLiteStore.checkPragmas(db, busyTimeout: 0) }
    let reader = SynchronousReader(first)
    state.withLock { $0 = State(idle: [reader], opened: 1) }
  }

  /// What `result` makes of the rows of a query, in their order; nil where another connection would wait, or if all are in use.
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
    // Where no more can be opened, those that are there must do.
    guard let connection = try? DatabaseQueue(path: path, configuration: configuration) else {
      state.withLock { $0.opened -= 1 }
      return nil
    }
    return SynchronousReader(connection)
  }
}

/// One connection, with the statements that it has compiled.
///
/// Unchecked, as only the thread that has taken it from ``QuickReaders`` uses it.
private final class SynchronousReader: @unchecked Sendable {
  /// Whether it is not yet known that it has the same file open as the others.
  var isNew = true
  private var statements: [UserQuery: Statement] = [:]
  private let connection: DatabaseQueue

  init(_ connection: DatabaseQueue) { self.connection = connection }

  func rows<Result>(_ query: UserQuery, _ parameter: RawParameter, _ result: (RawRow) -> Result) throws -> [Result] {
    try compiled(query).rows([parameter], result)
  }

  private func compiled(_ query: UserQuery) throws -> Statement {
    if let statement = statements[query] { return statement }
    let statement = try connection.unsafeRead { db in try db.makeStatement(sql: query.sql) }
    statements[query] = statement
    return statement
  }
}
