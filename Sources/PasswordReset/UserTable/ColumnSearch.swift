/// Searches a table for the columns that the settings name, and collects what is wrong.
struct ColumnSearch {
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
