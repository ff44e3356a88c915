import GRDB
import GRDBSQLite

// What link checks read and reset requests write is bound and read by SQLite's own functions, in less time than by GRDB's rows and arguments.

/// What takes the place of a `?` in a statement.
enum RawParameter: Sendable {
  case integer(Int64)
  case text(String)
  case null

  /// Null for nil.
  init(_ text: String?) { self = text.map(Self.text) ?? .null }
}

/// A row that has just been read; it is good only until the next. Columns count from 0.
struct RawRow {
  fileprivate let statement: OpaquePointer

  func isNull(_ column: CInt) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }

  /// Nil if it is none.
  func integer(_ column: CInt) -> Int64? {
    sqlite3_column_type(statement, column) == SQLITE_INTEGER ? sqlite3_column_int64(statement, column) : nil
  }

  /// Nil if it is none, or holds a NUL: most of what reads it would stop there, and take it for another.
  func text(_ column: CInt) -> String? {
    guard sqlite3_column_type(statement, column) == SQLITE_TEXT, let start = sqlite3_column_text(statement, column) else { return nil }
    let bytes = UnsafeBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement, column)))
    return bytes.contains(0) ? nil : String(decoding: bytes, as: UTF8.self)
  }
}

extension Statement {
  /// Runs the statement, which returns no rows.
  ///
  /// - Throws: `DatabaseError`.
  func run(_ parameters: RawParameter...) throws { _ = try rows(parameters) { _ in () } }

  /// What `result` makes of the rows, in their order. Only whoever alone uses the connection may call it.
  ///
  /// - Throws: `DatabaseError`.
  func rows<Result>(_ parameters: [RawParameter], _ result: (RawRow) -> Result) throws -> [Result] {
    defer {
      // Which ends the read; its result only repeats that of the last step.
      sqlite3_reset(sqliteStatement)
      sqlite3_clear_bindings(sqliteStatement)
    }
    for (index, parameter) in parameters.enumerated() { try check(bind(parameter, at: CInt(index + 1)), SQLITE_OK) }
    var results: [Result] = []
    while true {
      let code = sqlite3_step(sqliteStatement)
      guard code == SQLITE_ROW else {
        try check(code, SQLITE_DONE)
        return results
      }
      results.append(result(RawRow(statement: sqliteStatement)))
    }
  }

  private func bind(_ parameter: RawParameter, at index: CInt) -> CInt {
    switch parameter {
    case .integer(let number): sqlite3_bind_int64(sqliteStatement, index, number)
    case .text(let text): sqlite3_bind_text(sqliteStatement, index, text, CInt(text.utf8.count), transient)
    case .null: sqlite3_bind_null(sqliteStatement, index)
    }
  }

  private func check(_ code: CInt, _ expected: CInt) throws {
    guard code != expected else { return }
    let message = sqlite3_errmsg(sqlite3_db_handle(sqliteStatement)).map { String(cString: $0) }
    throw DatabaseError(resultCode: ResultCode(rawValue: code), message: message)
  }
}

/// `SQLITE_TRANSIENT`, which Swift cannot import: the text is copied.
private let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
