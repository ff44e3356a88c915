import CLibPQ

/// The rows that a statement returned, as text, or some of them.
struct Rows: Sendable {
  private let result: QueryResult
  private let numbers: Range<Int>

  /// Takes ownership of a `PGresult`.
  init(_ result: OpaquePointer) {
    self.result = QueryResult(result)
    numbers = 0..<Int(PQntuples(result))
  }

  private init(_ result: QueryResult, _ numbers: Range<Int>) { (self.result, self.numbers) = (result, numbers) }

  var count: Int { numbers.count }

  /// How many rows the statement changed.
  var changes: Int { result.changes }

  var first: Row? { numbers.first.map { Row(result: result, number: CInt($0)) } }

  func map<Result>(_ transform: (Row) -> Result) -> [Result] { numbers.map { transform(Row(result: result, number: CInt($0))) } }

  /// Returns only the row with a number, or no row.
  func only(_ number: Int?) -> Rows { Rows(result, number.map { $0..<($0 + 1) }.map(numbers.clamped) ?? 0..<0) }
}

/// One of the rows. Columns are numbered from 0.
struct Row {
  fileprivate let result: QueryResult
  fileprivate let number: CInt

  /// Returns the value as text, or `nil` if it is NULL.
  func text(_ column: Int) -> String? { result.text(number, column) }

  /// Returns `nil` unless the value is an integer.
  func integer(_ column: Int) -> Int64? { text(column).flatMap(Int64.init) }

  func isTrue(_ column: Int) -> Bool { text(column) == "t" }
}

/// It is `@unchecked Sendable` because it owns a `PGresult`, which nothing changes after libpq has returned it.
private final class QueryResult: @unchecked Sendable {
  private let result: OpaquePointer

  init(_ result: OpaquePointer) { self.result = result }

  deinit { PQclear(result) }

  var changes: Int { Int(String(cString: PQcmdTuples(result))) ?? 0 }

  func text(_ row: CInt, _ column: Int) -> String? {
    let column = CInt(column)
    guard PQgetisnull(result, row, column) == 0, let start = PQgetvalue(result, row, column) else { return nil }
    let bytes = UnsafeRawBufferPointer(start: start, count: Int(PQgetlength(result, row, column)))
    return String(validating: bytes, as: UTF8.self)
  }
}
