import CLibPQ

/// The rows that a statement returned, as text.
///
/// It is `@unchecked Sendable` because it owns a `PGresult`, which nothing changes after libpq has returned it.
final class Rows: @unchecked Sendable {
  private let result: OpaquePointer

  /// Takes ownership of a `PGresult`.
  init(_ result: OpaquePointer) { self.result = result }

  deinit { PQclear(result) }

  var count: Int { Int(PQntuples(result)) }

  /// How many rows the statement changed.
  var changes: Int { Int(String(cString: PQcmdTuples(result))) ?? 0 }

  var first: Row? { count > 0 ? Row(rows: self, number: 0) : nil }

  func map<Result>(_ transform: (Row) -> Result) -> [Result] { (0..<count).map { transform(Row(rows: self, number: CInt($0))) } }

  fileprivate func text(_ row: CInt, _ column: Int) -> String? {
    let column = CInt(column)
    guard PQgetisnull(result, row, column) == 0, let start = PQgetvalue(result, row, column) else { return nil }
    let bytes = UnsafeRawBufferPointer(start: start, count: Int(PQgetlength(result, row, column)))
    return String(validating: bytes, as: UTF8.self)
  }
}

/// One of the rows. Columns are numbered from 0.
struct Row {
  fileprivate let rows: Rows
  fileprivate let number: CInt

  /// Returns the value as text, or `nil` if it is NULL.
  func text(_ column: Int) -> String? { rows.text(number, column) }

  /// Returns `nil` unless the value is an integer.
  func integer(_ column: Int) -> Int64? { text(column).flatMap(Int64.init) }

  func isTrue(_ column: Int) -> Bool { text(column) == "t" }
}
