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

/// What takes the place of `?1` in a query.
enum QuickParameter: Sendable {
  case integer(Int64)
  case text(String)
}

/// A row that has just been read; it is good only until the next. Columns count from 0.
struct QuickRow {
  fileprivate let statement: OpaquePointer

  func isNull(_ column: CInt) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }

  /// Nil if it is none.
  func integer(_ column: CInt) -> Int64? {
    sqlite3_column_type(statement, column) == SQLITE_INTEGER ? sqlite3_column_int64(statement, column) : nil
  }

  /// Nil if it is none; up to its first NUL.
  func text(_ column: CInt) -> String? {
    guard sqlite3_column_type(statement, column) == SQLITE_TEXT, let text = sqlite3_column_text(statement, column) else { return nil }
    return String(cString: text)
  }
}

/// One connection, with the statements that it has compiled. GRDB sets it up; its rows are read by SQLite's own functions, in half the time.
///
/// Unchecked, as only the thread that has taken it from ``QuickReaders`` uses it.
final class QuickReader: @unchecked Sendable {
  private var statements: [QuickQuery: Statement] = [:]
  private let connection: DatabaseQueue

  fileprivate init(_ connection: DatabaseQueue) { self.connection = connection }

  fileprivate func rows<Result>(_ query: QuickQuery, _ parameter: QuickParameter, _ result: (QuickRow) -> Result) throws -> [Result] {
    try Self.rows(of: compiled(query), parameter, result)
  }

  /// To be called by whoever alone uses the connection of `statement`.
  static func rows<Result>(of statement: Statement, _ parameter: QuickParameter, _ result: (QuickRow) -> Result) throws -> [Result] {
    let statement = statement.sqliteStatement
    // Which frees the log at once; its result repeats that of the last step.
    defer { sqlite3_reset(statement) }
    try check(bind(parameter, to: statement), SQLITE_OK, statement)
    var results: [Result] = []
    while true {
      let code = sqlite3_step(statement)
      guard code == SQLITE_ROW else {
        try check(code, SQLITE_DONE, statement)
        return results
      }
      results.append(result(QuickRow(statement: statement)))
    }
  }

  private func compiled(_ query: QuickQuery) throws -> Statement {
    if let statement = statements[query] { return statement }
    let statement = try connection.unsafeRead { db in try db.makeStatement(sql: query.sql) }
    statements[query] = statement
    return statement
  }

  private static func bind(_ parameter: QuickParameter, to statement: OpaquePointer) -> CInt {
    switch parameter {
    case .integer(let number): return sqlite3_bind_int64(statement, 1, number)
    case .text(var text):
      return text.withUTF8 { bytes in
        bytes.withMemoryRebound(to: CChar.self) { sqlite3_bind_text(statement, 1, $0.baseAddress, CInt($0.count), transient) }
      }
    }
  }

  /// `SQLITE_TRANSIENT`, which Swift cannot import: the text is copied.
  private static let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

  private static func check(_ code: CInt, _ expected: CInt, _ statement: OpaquePointer) throws {
    guard code != expected else { return }
    throw DatabaseError(resultCode: ResultCode(rawValue: code), message: sqlite3_errmsg(sqlite3_db_handle(statement)).map { String(cString: $0) })
  }
}
