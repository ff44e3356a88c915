import Foundation
import PasswordReset

extension UserTable {
  private static let example = #"{"username": "email", "password": "encrypted_password", "last_login": null}"#

  /// Reads `USERS_TABLE`, `USERS_COLUMNS`, `ALLAUTH` and `AFTER_RESET`.
  init(from reader: inout SettingsReader) {
    let name = reader.value(
      .usersTable, message: "must be the name of a table, on PostgreSQL also with its schema: accounts_user, site.accounts_user."
    ) {
      Self.isName($0) ? $0 : nil
    }
    let columns = reader.value(.usersColumns, Self.columns)
    self.init(name: name, columns: columns, usesAllauth: reader.boolean(.allauth), afterReset: AfterReset(from: &reader))
  }

  static func isName(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 255 && text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
  }

  private static func columns(_ json: String) throws(SettingsReader.Invalid) -> [UserColumn: Column] {
    // The decoder's own error is not shown, because it is not about settings.
    guard let object = try? JSONDecoder().decode([String: ColumnValue].self, from: Data(json.utf8)) else {
      throw SettingsReader.Invalid("must be a JSON object of columns, such as \(example).", hint: "docs/users-table.md has examples.")
    }
    var columns: [UserColumn: Column] = [:]
    for (name, value) in object.sorted(by: { $0.key < $1.key }) {
      guard let column = UserColumn(rawValue: name) else {
        let known = UserColumn.allCases.map(\.rawValue).joined(separator: ", ")
        throw SettingsReader.Invalid("has the unknown name \(printable(String(name.prefix(40))).debugDescription). The names are \(known).")
      }
      columns[column] = try Self.column(column, value)
    }
    return columns
  }

  private static func column(_ column: UserColumn, _ value: ColumnValue) throws(SettingsReader.Invalid) -> Column {
    switch value {
    case .name(let name) where isName(name): return .named(name)
    case .null where !column.isRequired: return .absent
    case .null: throw SettingsReader.Invalid("cannot leave out \(column.rawValue), which every users table must have.")
    case .conditions(let conditions) where column == .isActive && isValid(conditions):
      return .values(conditions.sorted { $0.key < $1.key }.map { ActiveValues(column: $0.key, values: $0.value) })
    case .conditions where column == .isActive:
      let example = #"{"is_active": {"banned": false, "status": ["new", "active"], "deleted_at": null}}"#
      throw SettingsReader.Invalid("must name for is_active each column with the values that mean active: \(example).")
    case .name, .conditions, .other:
      throw SettingsReader.Invalid("must have the name of a column for \(column.rawValue)\(column.isRequired ? "" : ", or null").")
    }
  }

  private static func isValid(_ conditions: [String: [ActiveValues.Value]]) -> Bool {
    !conditions.isEmpty && conditions.allSatisfy { isName($0.key) && !$0.value.isEmpty && !$0.value.contains(where: \.hasNUL) }
  }
}

extension ActiveValues.Value {
  /// Whether the value is a text with a NUL, which no column has.
  fileprivate var hasNUL: Bool { if case .text(let text) = self { text.utf8.contains(0) } else { false } }
}

/// A value in `USERS_COLUMNS`.
private enum ColumnValue: Decodable {
  case null
  case name(String)
  case conditions([String: [ActiveValues.Value]])
  case other

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let name = try? container.decode(String.self) {
      self = .name(name)
    } else if let conditions = try? container.decode([String: ActiveValuesDocument].self) {
      self = .conditions(conditions.mapValues(\.values))
    } else {
      self = .other
    }
  }
}

/// The values of a column that mean active: one value, or a list.
private struct ActiveValuesDocument: Decodable {
  var values: [ActiveValues.Value]

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let list = try? container.decode([ConstantDocument].self) {
      values = list.map(\.value)
    } else {
      values = [try container.decode(ConstantDocument.self).value]
    }
  }
}
