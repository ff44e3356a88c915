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
  public var isDjango: Bool { table == Self.django.table && columns == Self.django.columns }

  /// Whether only the operator can choose the key of a new row.
  public var needsKey: Bool { columns[.id].map(unfilledColumns.contains) ?? false }

  /// How links name a user of the table.
  public var linkFormat: LinkFormat { usesAllauth ? .allauth(key) : .django }

  /// Whether the table has user names.
  public var hasUsernames: Bool { columns[.username] != nil }

  /// The column that names a user: the user name, or the address in a table without user names.
  public var nameColumn: UserColumn { hasUsernames ? .username : .email }

  /// Returns the values of columns that make a user active or inactive, or `nil` if the columns do not tell.
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

/// Searches a table for the columns that the settings name, and collects what is wrong.
private struct ColumnSearch {
  private let table: UserTable
  private let found: [TableColumn]
  private(set) var faults: [String] = []

  init(table: UserTable, found: [TableColumn]) {
    self.table = table
    self.found = found
  }

  /// Returns the table's column for a ``UserColumn``, or `nil` if there is none or it cannot serve.
  mutating func column(_ column: UserColumn) -> TableColumn? {
    let name: String
    switch table.columns[column] {
    case .named(let text): name = text
    case nil: name = column.rawValue
    case .absent, .values:
      if column.isRequired { faults.append("\(column.rawValue): USERS_COLUMNS must name a column, because every users table needs one") }
      return nil
    }
    guard let match = found.first(where: { $0.isNamed(name) }) else {
      if table.columns[column] != nil || column.isRequired || column.isSafeguard { reportMissing(column, name) }
      return nil
    }
    let kind = column.valueKind
    if column != .id, !match.kinds.contains(kind) {
      faults.append("\(column.rawValue): the column \(name) has the type \(match.type), and must hold \(kind.description)")
    }
    if column == .password, match.isGenerated {
      faults.append("\(column.rawValue): the database computes the column \(name), so that no one can change it")
    }
    return match
  }

  /// Returns the conditions of ``UserColumn/isActive``.
  mutating func activity() -> [ActiveValues] {
    guard case .values(let conditions) = table.columns[.isActive] else {
      return column(.isActive).map { [ActiveValues(column: $0.name, values: [.boolean(true)])] } ?? []
    }
    for condition in conditions {
      guard let match = found.first(where: { $0.isNamed(condition.column) }) else {
        reportMissing(.isActive, condition.column)
        continue
      }
      for case .boolean in condition.values where !match.kinds.contains(.boolean) {
        faults.append("is_active: the column \(match.name) has the type \(match.type), and is neither true nor false")
      }
    }
    return conditions
  }

  /// Returns the kind of the key.
  mutating func key(unique: Set<String>) -> UserKey? {
    guard case let name = name(of: .id), let match = found.first(where: { $0.isNamed(name) }) else { return nil }
    guard let key = match.key else {
      faults.append("id: the column \(name) has \(match.type.isEmpty ? "no type" : "the type \(match.type)"), and must be an integer, a UUID or text")
      return nil
    }
    if !unique.contains(where: match.isNamed) { faults.append("id: the column \(name) is neither the primary key nor unique and NOT NULL") }
    return key
  }

  /// Reports another use of the column that a reset overwrites.
  mutating func checkPassword(_ columns: [UserColumn: String], _ activity: [ActiveValues]) {
    guard let name = columns[.password] else { return }
    var others = UserColumn.allCases.filter { $0 != .password && columns[$0] == name }
    if activity.contains(where: { $0.column == name }) { others.append(.isActive) }
    if let other = others.first {
      faults.append("password: the column \(name) is also that of \(other.rawValue), which a new password would overwrite")
    }
  }

  private func name(of column: UserColumn) -> String {
    if case .named(let name) = table.columns[column] { name } else { column.rawValue }
  }

  private mutating func reportMissing(_ column: UserColumn, _ name: String) {
    let ours = column.rawValue
    let what = name == ours ? "the table has no column \(ours)" : "the table has no column \(name) for \(ours)"
    let remedy =
      suggestion(for: column, name).map { "did you mean USERS_COLUMNS={\"\(ours)\": \($0)}?" } ?? "name the column in USERS_COLUMNS."
    let without =
      switch column {
      case .isActive: "write null if every user may reset the password"
      case .lastLogin: "write null if the site does not record when a user signs in"
      default: "write null if there is none"
      }
    faults.append("\(ours): \(what); \(remedy)\(column.isRequired ? "" : " Or \(without)")")
  }

  /// Returns the JSON value that names a column with a likely name and type.
  private func suggestion(for column: UserColumn, _ name: String) -> String? {
    func letters(_ text: String) -> String { text.lowercased().filter { $0.isLetter || $0.isNumber } }
    let candidates = found.filter { column == .id ? $0.key != nil : $0.kinds.contains(column.valueKind) }
    if let similar = candidates.first(where: { [letters(name), letters(column.rawValue)].contains(letters($0.name)) }) {
      return "\"\(similar.name)\""
    }
    let common = column.commonNames.lazy.compactMap { common in candidates.first { $0.name.lowercased() == common }?.name }.first
    return common.map { "\"\($0)\"" } ?? (column == .isActive ? inverseSuggestion() : nil)
  }

  /// Returns the JSON value for a column whose value means that a user is not active.
  private func inverseSuggestion() -> String? {
    for (value, names) in [("false", UserColumn.namesOfInactive), ("null", UserColumn.namesOfInactiveSince)] {
      if let match = found.first(where: { names.contains($0.name.lowercased()) && $0.kinds.contains(value == "null" ? .time : .boolean) }) {
        return "{\"\(match.name)\": \(value)}"
      }
    }
    return nil
  }
}

extension TableColumn.Kind {
  fileprivate var description: String {
    switch self {
    case .text: "text"
    case .boolean: "true or false"
    case .time: "a time"
    case .other: "a key"
    }
  }
}
