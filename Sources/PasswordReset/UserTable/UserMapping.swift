/// How a users table that exists holds what the service needs.
public struct UserMapping: Sendable, Equatable {
  /// The name of the table, not quoted.
  public let table: String
  /// The columns that the table has. ``UserColumn/isActive`` is missing: see ``activity``.
  public let columns: [UserColumn: String]
  /// The conditions that an active user meets. If there are none, every user is active.
  public let activity: [ActiveValues]
  /// The kind of the key.
  public let key: UserKey
  /// The columns that a new row needs a value for, and for which the service has none.
  public let unfilledColumns: [String]
  /// Whether the users have more addresses in ``AddressTable``.
  public let usesAllauth: Bool

  /// The mapping of the table that Django's migrations create, which ours create as well.
  public static let django = UserMapping(
    table: UserTable.django.name, columns: Dictionary(uniqueKeysWithValues: UserColumn.allCases.filter { $0 != .isActive }.map { ($0, $0.rawValue) }),
    activity: [ActiveValues(column: UserColumn.isActive.rawValue, values: [.boolean(true)])], key: .integer)

  private init(table: String, columns: [UserColumn: String], activity: [ActiveValues], key: UserKey) {
    self.table = table
    self.columns = columns
    self.activity = activity
    self.key = key
    unfilledColumns = []
    usesAllauth = false
  }

  /// Finds the columns of a table.
  ///
  /// - Parameter found: the columns that the table has.
  /// - Parameter unique: the columns that alone are the primary key, or unique and never NULL.
  /// - Throws: ``StoreOpenError``, whose message has a line for each column that is missing or cannot serve.
  public init(_ table: UserTable, found: [TableColumn], unique: Set<String>) throws(StoreOpenError) {
    var search = ColumnSearch(table: table, found: found)
    var columns: [UserColumn: String] = [:]
    for column in UserColumn.allCases where column != .isActive { columns[column] = search.column(column)?.name }
    activity = search.activity()
    key = search.key(unique: unique) ?? .integer
    search.checkPassword(columns, activity)
    guard search.faults.isEmpty else { throw .unusableUserTable(table.name, faults: search.faults) }
    self.table = table.name
    usesAllauth = table.usesAllauth
    self.columns = columns
    let written = Set(columns.values).union(activity.map(\.column))
    let generatesKey = key.newID() != nil
    unfilledColumns = found.filter { column in
      column.needsValue && (!written.contains(column.name) || column.name == columns[.id] && !generatesKey)
    }.map(\.name)
  }

  /// Whether the table has the name and the columns of Django's own; it may have others as well.
  public var isDjango: Bool { table == Self.django.table && columns == Self.django.columns && activity == Self.django.activity }

  /// Whether only the operator can choose the key of a new row.
  public var needsKey: Bool { columns[.id].map(unfilledColumns.contains) ?? false }

  /// How links name a user of the table.
  public var linkFormat: LinkFormat { usesAllauth ? .allauth(key) : .django }

  /// Whether the table has user names.
  public var hasUsernames: Bool { columns[.username] != nil }

  /// The column that names a user: the user name, or the address in a table without other user names.
  public var nameColumn: UserColumn { hasUsernames && columns[.username] != columns[.email] ? .username : .email }

  /// Returns the text in ``nameColumn``.
  public func name(of row: UserRow) -> String { hasUsernames ? row.username : row.email }

  /// Returns the values of columns that make a user active or inactive, or `nil` if the columns do not determine it.
  ///
  /// A user is made inactive by the first column that is true or false. ``ActiveChange/now`` fills a column that is empty
  /// for active users, such as `deleted_at`.
  public func assignments(isActive: Bool) -> [ActiveChange]? {
    if isActive {
      let changes = activity.map { ActiveChange(column: $0.column, value: .oneOf($0.values)) }
      return changes.isEmpty ? nil : changes
    }
    for condition in activity {
      if case .boolean(let value) = condition.values[0], condition.values.count == 1 {
        return [ActiveChange(column: condition.column, value: .constant(.boolean(!value)))]
      }
    }
    return activity.first { $0.values == [.null] }.map { [ActiveChange(column: $0.column, value: .now)] }
  }

  /// Returns the values of the same columns for a new user. Each column has one, because it may be NOT NULL.
  public func activityOfNewUser(isActive: Bool) -> [ActiveChange] {
    let inactive = isActive ? [] : assignments(isActive: false) ?? []
    let others = activity.filter { condition in !inactive.contains { $0.column == condition.column } }
    return others.map { ActiveChange(column: $0.column, value: .constant($0.values[0])) } + inactive
  }
}

/// A change that makes a user active or inactive.
public struct ActiveChange: Sendable, Equatable {
  public var column: String
  public var value: Value

  public enum Value: Sendable, Equatable {
    case constant(ActiveValues.Value)
    /// The value that the column has, if it is one of these, otherwise the first of these.
    case oneOf([ActiveValues.Value])
    /// The current time, in the column's type.
    case now
  }
}
