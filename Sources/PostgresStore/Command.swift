/// A SQL statement whose parameters are `$1`, `$2` and so on, each with a cast to its type.
struct Statement: Sendable, Hashable {
  /// How the commands of one transaction share a statement.
  enum Sharing: Hashable {
    /// The statement runs for each of them.
    case none
    /// Of several commands, another statement runs once. It takes an array for each parameter, with an element for each
    /// command, and returns a row for each, in their order.
    case rows(several: String)
    /// The statement runs once for all of them.
    case once
  }

  /// The name under which a connection keeps the statement prepared; `nil` for a statement that is run too rarely.
  var name: String?
  var sql: String
  var sharing: Sharing

  init(_ name: String?, _ sql: String, sharing: Sharing = .none) { (self.name, self.sql, self.sharing) = (name, sql, sharing) }
}

/// A statement with the values of its parameters, as text in PostgreSQL's own form.
struct Command: Sendable {
  var statement: Statement
  var values: [String?]

  init(_ statement: Statement, _ values: any Value...) {
    self.statement = statement
    self.values = values.map { $0.postgresText }
  }

  init(_ statement: Statement, values: [String?]) { (self.statement, self.values) = (statement, values) }

  /// Whether a value contains NUL. PostgreSQL has no such text, so no row has it, and none can get it.
  var hasNUL: Bool { values.contains { $0?.utf8.contains(0) == true } }
}

/// A value that a parameter can have.
protocol Value: Sendable {
  /// The text that PostgreSQL reads, or `nil` for NULL.
  var postgresText: String? { get }
}

extension String: Value {
  var postgresText: String? { self }
}

extension Int: Value {
  var postgresText: String? { String(self) }
}

extension Int64: Value {
  var postgresText: String? { String(self) }
}

extension Bool: Value {
  var postgresText: String? { self ? "t" : "f" }
}

extension Optional: Value where Wrapped: Value {
  // In generic code, `flatMap(\.postgresText)` creates a key path for every value: a tenth of a reset request's time.
  var postgresText: String? {
    guard let value = self else { return nil }
    return value.postgresText
  }
}

extension Array: Value where Element == Int64 {
  var postgresText: String? { "{\(map(String.init).joined(separator: ","))}" }
}
