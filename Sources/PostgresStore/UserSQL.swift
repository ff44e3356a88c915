import PasswordReset

/// Writes the parts of statements that concern the columns of a users table.
struct UserSQL {
  static let zonedTime = "timestamp with time zone"

  let mapping: UserMapping
  /// The name of the table with its schema, quoted.
  let table: String
  /// The types of the table's columns, as SQL writes them.
  let types: [String: String]
  /// The name of django-allauth's table with its schema, quoted. Only a mapping that uses allauth needs it.
  var addressTable = AddressTable.name

  /// The quoted name of the key's column.
  var key: String { column(.id) }

  /// The key for ORDER BY. There, the name alone would mean the text in the list of ``list(_:_:)``.
  var keyOrder: String { "\(table).\(key)" }

  /// Returns the quoted name of a column that the table has.
  func column(_ column: UserColumn) -> String { quoted(identifier: mapping.columns[column] ?? column.rawValue) }

  /// The type of the values that the key's column can be compared with.
  var keyType: String {
    let type = types[mapping.columns[.id] ?? "id"] ?? ""
    switch mapping.key {
    case .integer: return "bigint"
    case .uuid where type == "uuid": return "uuid"
    // The comparison of `character` with `text` could not use the index.
    case .uuid, .uuidDigits, .text: return type == "bpchar" ? "bpchar" : "text"
    }
  }

  /// Returns a parameter as a value that the key's column can be compared with.
  func keyParameter(_ parameter: String) -> String { "\(parameter)::\(keyType)" }

  /// The condition that the key is the parameter, byte by byte: the column's collation may be coarser than that of its unique
  /// index.
  func hasExactKey(_ parameter: String) -> String {
    let value = keyParameter(parameter)
    return "\(key) = \(value)" + (mapping.key == .integer ? "" : " AND \(key)::text = \(value)::text COLLATE \"C\"")
  }

  /// The time through which the links of the row's user are cancelled. It reads one row whether or not they are. The collation is
  /// that of our table, whose index serves.
  var cancellation: String {
    let key = "\(table).\(key)::text COLLATE \"default\""
    return """
      (SELECT CASE WHEN user_id = \(key) THEN at END FROM password_reset.cancellation WHERE user_id <= \(key) ORDER BY user_id DESC LIMIT 1)
      """
  }

  /// The condition that a row's key is not one of its kind; there is none for a type that has no other values.
  var hasUnreadableKey: [String] {
    switch mapping.key {
    case .integer, .uuid: []
    case .uuidDigits: ["\(key)::text !~ '^[0-9a-f]{32}$'"]
    case .text: ["octet_length(\(key)::text) NOT BETWEEN 1 AND 255 OR \(key)::text ~ '[\\u0001-\\u001f\\u007f]'"]
    }
  }

  /// Returns the expressions of several columns, for a SELECT; the key as text, and times in a zone.
  func list(_ columns: [UserColumn], _ zone: String) -> String {
    columns.map { $0 == .id ? "\(key)::text" : expression($0, zone) }.joined(separator: ", ")
  }

  /// Returns an expression for a column. It has a value even if the table has no such column.
  func expression(_ column: UserColumn, _ zone: String) -> String {
    if column == .isActive { return activity }
    let exists = mapping.columns[column] != nil
    switch column.valueKind {
    case .text: return exists ? "coalesce(\(self.column(column))::text, '')" : "''"
    case .boolean: return exists ? self.column(column) : "false"
    case .time: return exists ? text(ofTime: column, zone) : "NULL"
    case .other: return self.column(column)
    }
  }

  private var activity: String {
    mapping.activity.isEmpty ? "true" : mapping.activity.map { "(\(condition($0)))" }.joined(separator: " AND ")
  }

  /// Returns the condition that a column has one of the values.
  func condition(_ condition: ActiveValues) -> String {
    let column = quoted(identifier: condition.column)
    if types[condition.column] == "boolean", condition.values == [.boolean(true)] { return "\(column) IS TRUE" }
    return condition.values.map { value in
      // Every type has this test, but not each has an operator for equality.
      value == .null ? "\(column) IS NULL" : "\(column) IS NOT DISTINCT FROM \(literal(value, for: condition.column))"
    }.joined(separator: " OR ")
  }

  /// Returns a value as a literal of the column's type.
  func literal(_ value: ActiveValues.Value, for column: String) -> String { Self.literal(value, type: types[column] ?? "text") }

  /// Returns a value as a literal of a type.
  static func literal(_ value: ActiveValues.Value, type: String) -> String {
    let text: String
    switch value {
    case .null: text = "NULL"
    case .boolean(let isTrue): text = isTrue ? "true" : "false"
    case .number(let number): text = "'\(number)'"
    case .text(let string): text = quoted(literal: string)
    }
    return "\(text)::\(type)"
  }

  /// The condition that the address is the parameter, as Django's `iexact` compares it on PostgreSQL.
  func hasEmail(_ parameter: String) -> String { "UPPER(\(column(.email))::text) = UPPER(\(parameter)::text)" }

  /// The condition that the user name is the parameter.
  func hasUsername(_ parameter: String) -> String {
    guard mapping.hasUsernames else { return "\(parameter)::text IS NULL" }
    let type = types[mapping.columns[.username] ?? "username"] ?? "text"
    // The comparison of another type of text with `text` could not use the index.
    return "\(column(.username)) = \(parameter)::\(type == "character varying" ? "text" : type)"
  }

  /// The condition that the user has the name in the parameter. In a table without names, the address is the name.
  func hasName(_ parameter: String) -> String {
    if mapping.hasUsernames { return hasUsername(parameter) }
    return "\(hasEmail(parameter)) AND \(column(.email))::text = \(parameter)::text COLLATE \"C\""
  }

  /// Returns the time of the last sign-in in a zone, to the second.
  func loginSecond(_ zone: String) -> String {
    guard mapping.columns[.lastLogin] != nil else { return "NULL::timestamp" }
    return "date_trunc('second', \(inZone(.lastLogin, zone)))"
  }

  private func inZone(_ column: UserColumn, _ zone: String) -> String {
    // A time without a zone is already what the site's clock shows.
    isZoned(column) ? "\(self.column(column)) AT TIME ZONE \(zone)" : self.column(column)
  }

  func isZoned(_ column: UserColumn) -> Bool { mapping.columns[column].flatMap { types[$0] } == Self.zonedTime }

  /// Returns an expression for a time in a zone as text with its era; `infinite` is a time that Django cannot read.
  private func text(ofTime column: UserColumn, _ zone: String) -> String {
    """
    CASE WHEN isfinite(\(self.column(column))) THEN to_char(\(inZone(column, zone)), 'YYYY-MM-DD HH24:MI:SS.US AD') \
    WHEN \(self.column(column)) IS NOT NULL THEN 'infinite' END
    """
  }
}
