import Credentials
import Foundation
import GRDB
import PasswordReset

// What only the commands for users need.
extension UserStatements {
  /// The condition that a user has the name in the parameter `?1`. In a table without names, the address is the name.
  var hasName: String {
    if mapping.hasUsernames { return "\(mapping.quoted(.username)) = ?1" }
    let email = mapping.quoted(.email)
    return "\(email) = ?1 COLLATE NOCASE AND \(email) = ?1 COLLATE BINARY"
  }

  /// Returns the value of the key's column after which a page begins. It may be one that is not of the table's kind.
  func pageStart(_ id: UserID) -> RawParameter {
    mapping.key == .integer || mapping.key.id(id.text) != nil ? parameter(id) : .text(id.text)
  }

  /// Returns the condition for a selection, with a parameter `?3`, and the value of that parameter.
  func condition(_ selection: UserSelection) -> (sql: String, value: RawParameter) {
    switch selection {
    case .all: return ("?3 IS NULL", .null)
    case .username(let name): return mapping.hasUsernames ? ("\(mapping.quoted(.username)) = ?3", .text(name)) : ("?3 IS NULL", .text(name))
    case .email(let address): return ("\(mapping.quoted(.email)) = ?3 COLLATE NOCASE", .text(address))
    case .id(let id): return ("\(mapping.quoted(.id)) = ?3", parameter(id))
    case .containing(let text):
      let texts =
        [UserColumn.username, .email].map(mapping.expression) + ["\(mapping.expression(.firstName)) || ' ' || \(mapping.expression(.lastName))"]
      return ("instr(lower(\(texts.joined(separator: " || char(10) || "))), lower(?3)) > 0", .text(text))
    }
  }

  /// Returns the values for a new row, by the table's column. Two of Django's names may mean the same column.
  func values(of row: UserRow) -> [(column: String, value: RawParameter)] {
    let id = row.id ?? mapping.key.newID()
    var values: [(column: String, value: RawParameter)] = []
    func add(_ column: UserColumn, _ value: RawParameter) {
      guard let name = mapping.columns[column], !values.contains(where: { $0.column == name }) else { return }
      values.append((name, value))
    }
    if let id { add(.id, parameter(id)) }
    add(.username, .text(row.username))
    add(.email, .text(row.email))
    add(.firstName, .text(row.firstName))
    add(.lastName, .text(row.lastName))
    add(.password, .text(row.password))
    add(.lastLogin, RawParameter(row.lastLogin))
    add(.isStaff, .integer(row.isStaff ? 1 : 0))
    add(.isSuperuser, .integer(row.isSuperuser ? 1 : 0))
    add(.dateJoined, .text(row.dateJoined))
    for change in mapping.activityOfNewUser(isActive: row.isActive) where !values.contains(where: { $0.column == change.column }) {
      values.append((change.column, change.parameter))
    }
    return values
  }
}

extension ActiveChange {
  fileprivate var parameter: RawParameter {
    switch value {
    case .constant(let value): value.parameter
    case .oneOf(let values): values[0].parameter
    case .now: .text(DjangoTime.text(of: Date()))
    }
  }
}

extension ActiveValues.Value {
  fileprivate var parameter: RawParameter {
    switch self {
    case .null: .null
    case .boolean(let isTrue): .integer(isTrue ? 1 : 0)
    case .number(let number): .integer(number)
    case .text(let text): .text(text)
    }
  }
}

extension ActiveChange {
  /// The assignment for an UPDATE.
  var assignment: String {
    let name = column.quotedIdentifier
    return switch value {
    case .constant(let value): "\(name) = \(value.literal)"
    case .oneOf(let values):
      "\(name) = CASE WHEN \(ActiveValues(column: column, values: values).condition) THEN \(name) ELSE \(values[0].literal) END"
    case .now: "\(name) = datetime('now')"
    }
  }
}
