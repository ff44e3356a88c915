import Credentials
import PasswordReset

// What only the commands for users need.
extension UserStatements {
  /// Returns the condition for a selection, with a parameter `$3`, and the value of that parameter.
  func condition(_ selection: UserSelection) -> (sql: String, value: String?) {
    switch selection {
    case .all: return ("$3::text IS NULL", nil)
    case .username(let name): return (sql.hasUsername("$3"), name)
    case .email(let address): return (sql.hasEmail("$3"), address)
    case .id(let id): return ("\(sql.key) = \(sql.keyParameter("$3"))", keyText(id))
    case .containing(let text):
      func expression(_ column: UserColumn) -> String { sql.expression(column, "'UTC'") }
      let texts =
        "\(expression(.username)) || chr(10) || \(expression(.email)) || chr(10) || \(expression(.firstName)) || ' ' || \(expression(.lastName))"
      return ("strpos(lower(\(texts)), lower($3::text)) > 0", text)
    }
  }

  /// Returns the statement that adds a row unless its key or name is taken.
  func insert(_ row: UserRow) -> Command {
    var columns: [String] = []
    var (expressions, values) = ([String](), [String?]())
    func add(_ name: String?, _ value: String?, _ expression: (String) -> String) {
      guard let name, !columns.contains(name) else { return }
      columns.append(name)
      values.append(value)
      expressions.append(expression("$\(values.count)"))
    }
    if let id = row.id ?? mapping.key.newID() { add(mapping.columns[.id], keyText(id), sql.keyParameter) }
    let texts: [(UserColumn, String)] = [
      (.username, row.username), (.email, row.email), (.firstName, row.firstName), (.lastName, row.lastName), (.password, row.password),
    ]
    for (column, text) in texts { add(mapping.columns[column], text) { "\($0)::text" } }
    let times = [(UserColumn.lastLogin, row.lastLogin.flatMap(Self.time)), (.dateJoined, Self.time(row.dateJoined) ?? row.dateJoined)]
    for (column, time) in times {
      add(mapping.columns[column], time) { sql.isZoned(column) ? "\($0)::timestamp AT TIME ZONE 'UTC'" : "\($0)::timestamp" }
    }
    for (column, flag) in [(UserColumn.isStaff, row.isStaff), (.isSuperuser, row.isSuperuser)] {
      add(mapping.columns[column], flag.postgresText) { "\($0)::boolean" }
    }
    for change in mapping.activityOfNewUser(isActive: row.isActive) where !columns.contains(change.column) {
      columns.append(change.column)
      expressions.append(expression(change))
    }
    values.append(mapping.hasUsernames ? row.username : row.email)
    let text = """
      INSERT INTO \(table) (\(columns.map(quoted(identifier:)).joined(separator: ", "))) SELECT \(expressions.joined(separator: ", "))
      WHERE NOT EXISTS (SELECT 1 FROM \(table) WHERE \(sql.hasName("$\(values.count)"))) ON CONFLICT DO NOTHING RETURNING \(sql.key)::text
      """
    return Command(Statement("password_reset_add_\(row.id == nil ? "" : "with_id_")\(row.isActive ? "active" : "inactive")", text), values: values)
  }

  /// Returns the statement that makes a user active or inactive.
  func update(_ id: UserID, _ changes: [ActiveChange]) -> Command {
    let assignments = changes.map { "\(quoted(identifier: $0.column)) = \(expression($0))" }.joined(separator: ", ")
    return Command(Statement(nil, "UPDATE \(table) SET \(assignments) WHERE \(sql.key) = \(sql.keyParameter("$1"))"), keyText(id))
  }

  private func expression(_ change: ActiveChange) -> String {
    switch change.value {
    case .constant(let value): return sql.literal(value, for: change.column)
    case .oneOf(let values):
      let condition = sql.condition(ActiveValues(column: change.column, values: values))
      return "CASE WHEN \(condition) THEN \(quoted(identifier: change.column)) ELSE \(sql.literal(values[0], for: change.column)) END"
    case .now: return "now()::\(types[change.column] ?? UserSQL.zonedTime)"
    }
  }

  /// Returns the time in UTC, or `nil` if the text is one that Django takes for no time.
  private static func time(_ text: String) -> String? {
    if case .time(let time) = DjangoTime.read(text) { time.stored } else { nil }
  }
}
