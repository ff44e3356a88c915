import GRDB
import GRDBSQLite

// Link checks and reset requests bind parameters and read columns with SQLite's own functions, because GRDB's rows and
// arguments take longer: with them and GRDB's queue, reading a user took 17 percent of a link check's time, and without
// them it takes 13 percent of a shorter time (decision 15).

/// The value of a `?` in a statement.
enum RawParameter: Sendable {
  case integer(Int64)
  case text(String)
  case null

  /// Makes `nil` a NULL.
  init(_ text: String?) { self = text.map(Self.text) ?? .null }
}

/// The row that a statement has just read. It is valid only until the next step. Columns are numbered from 0.
struct RawRow {
  fileprivate let statement: OpaquePointer

  func isNull(_ column: CInt) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }

  /// Returns `nil` unless the column holds an integer.
  func integer(_ column: CInt) -> Int64? {
    sqlite3_column_type(statement, column) == SQLITE_INTEGER ? sqlite3_column_int64(statement, column) : nil
  }

  /// Returns `nil` unless the column holds text in UTF-8 without NUL. Most programs stop reading at a NUL, and would see
  /// a different text.
  func text(_ column: CInt) -> String? {
    guard sqlite3_column_type(statement, column) == SQLITE_TEXT, let text = anyText(column), !text.utf8.contains(0) else { return nil }
    return text
  }

  /// Returns a value of any type as text, or `nil` if it is not UTF-8.
  func anyText(_ column: CInt) -> String? {
    guard let start = sqlite3_column_text(statement, column) else { return "" }
    let bytes = UnsafeBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement, column)))
    return String(validating: bytes, as: UTF8.self)
  }
}

extension Statement {
  /// Runs the statement, which returns no rows.
  ///
  /// - Throws: `DatabaseError`.
  func run(_ parameters: RawParameter...) throws { _ = try rows(parameters) { _ in () } }

  /// Returns what `result` makes of the rows, in their order. The caller must have exclusive use of the connection.
  ///
  /// - Throws: `DatabaseError`.
  func rows<Result>(_ parameters: [RawParameter], _ result: (RawRow) -> Result) throws -> [Result] {
    defer {
      // The reset ends the read. Its result only repeats that of the last step.
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

/// `SQLITE_TRANSIENT`, which Swift cannot import. It makes SQLite copy the text.
private let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
