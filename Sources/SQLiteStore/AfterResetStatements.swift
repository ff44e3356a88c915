import Credentials
import Foundation
import GRDB
import GRDBSQLite
import PasswordReset

/// The statements of `AFTER_RESET` for one database.
struct AfterResetStatements: Sendable {
  /// Where the value of a parameter comes from.
  enum Parameter: Sendable {
    case userID
    /// The time of the reset, as text.
    case now(isDate: Bool)
    case randomText(Int)
    case uuid(isDigits: Bool)
  }

  /// A statement with its parameters, in the order of their numbers.
  struct Step: Sendable {
    var sql: String
    var parameters: [Parameter]
  }

  let afterReset: AfterReset
  /// Whether nothing ends with a reset.
  var isEmpty: Bool { afterReset.entries.isEmpty }
  /// The statements of each entry.
  private(set) var entries: [[Step]] = []

  /// Compiles the statements, and changes nothing.
  ///
  /// - Throws: ``StoreOpenError`` if an entry does not fit the database.
  init(_ users: UserStatements, _ afterReset: AfterReset, _ db: Database) throws {
    self.afterReset = afterReset
    guard !afterReset.entries.isEmpty else { return }
    let columns = try UserTableCheck.columns(of: users.mapping.table, db)
    for (index, entry) in afterReset.entries.enumerated() {
      var steps: [Step] = []
      if !entry.assignments.isEmpty { steps.append(try Self.update(entry.assignments, columns, users, entry: index + 1)) }
      for statement in entry.statements {
        if try Self.hasTables(statement, of: entry, number: index + 1, db) { steps.append(try Self.step(statement.sql(), entry: index + 1, db)) }
      }
      for step in steps { try Self.compile(step.sql, entry: index + 1, db) }
      entries.append(steps)
    }
  }

  /// Returns whether the statement is to be run.
  private static func hasTables(_ statement: AfterReset.Statement, of entry: AfterReset.Entry, number: Int, _ db: Database) throws -> Bool {
    for table in statement.tables where try !db.tableExists(table.name) {
      if statement.isOptional { return false }
      guard case .preset(let preset) = entry else { continue }
      throw StoreOpenError.missingTable(table.name, of: preset, entry: number)
    }
    return true
  }

  /// Returns the statement that sets columns of the user's row.
  private static func update(
    _ assignments: [AfterReset.Assignment], _ columns: [TableColumn], _ users: UserStatements, entry: Int
  ) throws(StoreOpenError) -> Step {
    var step = Step(sql: "", parameters: [.userID])
    var list: [String] = []
    for assignment in assignments {
      if let fault = assignment.fault(in: columns, of: users.mapping) { throw .unusableAfterReset(entry: entry, fault) }
      let column = columns.first { $0.isNamed(assignment.column) }
      let name = assignment.column.quotedIdentifier
      switch assignment.value {
      case .constant(let value):
        list.append("\(name) = \(value.literal)")
        continue
      case .increment:
        list.append("\(name) = ifnull(\(name), 0) + 1")
        continue
      case .randomText(let length): step.parameters.append(.randomText(length))
      case .now: step.parameters.append(.now(isDate: column?.type.lowercased() == "date"))
      case .uuid: step.parameters.append(.uuid(isDigits: column?.key == .uuidDigits))
      }
      list.append("\(name) = ?\(step.parameters.count)")
    }
    let key = users.mapping.quoted(.id)
    step.sql = "UPDATE \(users.table) SET \(list.joined(separator: ", ")) WHERE \(key) = ?1 AND \(key) = ?1 COLLATE BINARY"
    return step
  }

  /// Returns a statement with the parameters that SQLite finds in it.
  private static func step(_ sql: String, entry: Int, _ db: Database) throws -> Step {
    let statement = try compile(sql, entry: entry, db)
    // The statement owns the pointer, and must outlive it.
    let names = withExtendedLifetime(statement) {
      (0..<sqlite3_bind_parameter_count(statement.sqliteStatement)).map { number in
        sqlite3_bind_parameter_name(statement.sqliteStatement, number + 1).map { String(cString: $0) }
      }
    }
    var parameters: [Parameter] = []
    for name in names {
      switch name {
      case ":user_id": parameters.append(.userID)
      case ":now": parameters.append(.now(isDate: false))
      default:
        throw StoreOpenError.unusableAfterReset(
          entry: entry, "the statement has the parameter \(name ?? "?"); the only parameters are :user_id and :now")
      }
    }
    guard parameters.contains(where: { if case .userID = $0 { true } else { false } }) else {
      throw StoreOpenError.unusableAfterReset(entry: entry, "the statement has :user_id only in a literal or a comment, where it is no parameter")
    }
    return Step(sql: sql, parameters: parameters)
  }

  @discardableResult private static func compile(_ sql: String, entry: Int, _ db: Database) throws -> Statement {
    do {
      return try db.makeStatement(sql: sql)
    } catch let error as DatabaseError where [.SQLITE_ERROR, .SQLITE_MISUSE, .SQLITE_AUTH].contains(error.resultCode) {
      throw StoreOpenError.unusableAfterReset(entry: entry, "SQLite refuses the statement: \(error.message ?? "\(error.extendedResultCode)")")
    }
  }
}

/// An entry of `AFTER_RESET` failed. The transaction must be rolled back.
struct AfterResetFailure: Error, CustomStringConvertible {
  /// The number of the entry, or `nil` if the entries together break a foreign key.
  var entry: Int?
  var reason: String
  var isTimeout = false

  var description: String { (entry.map { "entry \($0): " } ?? "") + reason }
}
