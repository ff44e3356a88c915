/// The site's users table, as the settings describe it.
public struct UserTable: Sendable, Equatable {
  /// `USERS_TABLE`: the name, not quoted. On PostgreSQL, the name of the schema and a dot may precede it.
  public var name: String
  /// `USERS_COLUMNS`: the table's column for each ``UserColumn``, or ``Column/absent``. A column that is missing here has
  /// Django's name.
  public var columns: [UserColumn: Column]
  /// `ALLAUTH`: whether the site uses django-allauth, so that users have more addresses in its table, and links are allauth's.
  public var usesAllauth: Bool
  /// `AFTER_RESET`: what ends with each new password.
  public var afterReset: AfterReset

  /// What the settings say about a column.
  public enum Column: Sendable, Equatable {
    /// The table has the column under this name.
    case named(String)
    /// The table has no such column.
    case absent
    /// Only for ``UserColumn/isActive``: a user is active if each of these columns has one of its values.
    case values([ActiveValues])
  }

  public init(
    name: String, columns: [UserColumn: Column] = [:], usesAllauth: Bool = false, afterReset: AfterReset = AfterReset()
  ) {
    self.name = name
    self.columns = columns
    self.usesAllauth = usesAllauth
    self.afterReset = afterReset
  }

  /// Django's own table.
  public static let django = UserTable(name: "auth_user")

  /// Whether a migration may create the table in an empty database. A table that the settings describe must exist.
  public var mayBeCreated: Bool { name == Self.django.name && columns.isEmpty && !usesAllauth && afterReset.entries.isEmpty }
}

/// A column that has certain values if the user is active.
public struct ActiveValues: Sendable, Equatable, CustomStringConvertible {
  public var column: String
  /// The values that mean active; there is at least one.
  public var values: [Value]

  /// A value as `USERS_COLUMNS` writes it.
  public enum Value: Sendable, Equatable, CustomStringConvertible {
    case null
    case boolean(Bool)
    case number(Int64)
    case text(String)

    /// The value as JSON writes it, approximately.
    public var description: String {
      switch self {
      case .null: "null"
      case .boolean(let isTrue): "\(isTrue)"
      case .number(let number): "\(number)"
      case .text(let text): "\"\(text)\""
      }
    }
  }

  /// The condition for messages: `banned = false`.
  public var description: String { "\(column) = \(values.map(\.description).joined(separator: " or "))" }

  public init(column: String, values: [Value]) {
    self.column = column
    self.values = values
  }
}

extension UserTable {
  /// Returns whether a table with these columns is likely to be a users table, so that an error can suggest it.
  public static func hasLikelyColumns(_ names: [String]) -> Bool {
    let names = Set(names.map { $0.lowercased() })
    return [UserColumn.email, .password].allSatisfy { column in ([column.rawValue] + column.commonNames).contains(where: names.contains) }
      || names.isSuperset(of: ["password", "last_login"])
  }
}
