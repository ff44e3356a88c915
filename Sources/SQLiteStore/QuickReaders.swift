import GRDB
import GRDBSQLite
import Synchronization

/// Connections for reads of a few rows by key, done on the thread that asks: they take some microseconds, and a change of threads takes more.
///
/// There are as many as threads ever read at once. None of them waits for a lock.
final class QuickReaders: Sendable {
  private let path: String
  private let configuration: Configuration
  private let idle = Mutex<[QuickReader]>([])

  init(path: String, _ configuration: Configuration) throws {
    self.path = path
    self.configuration = configuration
    let first = try DatabaseQueue(path: path, configuration: configuration)
    try first.read { db in try SQLiteStore.checkPragmas(db, busyTimeout: 0) }
    put(QuickReader(first))
  }

  /// What `result` makes of the rows of a query, in their order.
  ///
  /// - Throws: `DatabaseError`; also `SQLITE_BUSY`, at once, where another connection would wait.
  func rows<Result>(_ query: QuickQuery, _ parameter: QuickParameter, _ result: (QuickRow) -> Result) throws -> [Result] {
    let reader = try idle.withLock { $0.popLast() } ?? QuickReader(DatabaseQueue(path: path, configuration: configuration))
    defer { put(reader) }
    return try reader.rows(query, parameter, result)
  }

  private func put(_ reader: QuickReader) { idle.withLock { $0.append(reader) } }
}

/// One connection, with the statements that it has compiled.
///
/// Unchecked, as only the thread that has taken it from ``QuickReaders`` uses it.
private final class QuickReader: @unchecked Sendable {
  private var statements: [QuickQuery: Statement] = [:]
  private let connection: DatabaseQueue

  init(_ connection: DatabaseQueue) { self.connection = connection }

  func rows<Result>(_ query: QuickQuery, _ parameter: QuickParameter, _ result: (QuickRow) -> Result) throws -> [Result] {
    try compiled(query).rows([parameter], result)
  }

  private func compiled(_ query: QuickQuery) throws -> Statement {
    if let statement = statements[query] { return statement }
    let statement = try connection.unsafeRead { db in try db.makeStatement(sql: query.sql) }
    statements[query] = statement
    return statement
  }
}
