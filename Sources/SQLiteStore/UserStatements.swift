import Credentials
import GRDB
import PasswordReset

/// The statements on the site's users table.
struct UserStatements: Sendable {
  let mapping: UserMapping
  /// The name of the table, quoted.
  let table: String
  let userByID, usersByEmail, usersByUsername, usersByVerifiedAddress, setPassword, row: String
  /// Selects some users: those with the lowest keys, and those with the highest.
  let someUsers: String
  /// The index that serves ``usersByEmail``, and the statement that creates it.
  let emailIndex, createEmailIndex: String

  /// - Parameter hasOwnTables: whether the database has our own tables. One that was never migrated lacks them.
  init(_ mapping: UserMapping, hasOwnTables: Bool = true) {
    self.mapping = mapping
    table = mapping.table.quotedIdentifier
    let key = mapping.quoted(.id)
    let email = mapping.quoted(.email)
    let resetList = mapping.list(UserColumn.ofReset)
    let cancellation = hasOwnTables ? Self.cancellation(of: "CAST(\(table).\(key) AS TEXT)") : "NULL"
    let select = "SELECT \(resetList), \(cancellation)\(mapping.addressList) FROM \(table)\(mapping.addressJoin)"
    let order = "ORDER BY \(key)\(mapping.addressOrder)"
    // Selects the user with the key, otherwise the one with the next lower key, otherwise the one with the lowest key. Every
    // key searches for and reads one user, so that the time does not reveal which keys exist.
    userByID = """
      \(select)
      WHERE \(key) = ifnull((SELECT max(\(key)) FROM \(table) WHERE \(key) <= ?1), (SELECT min(\(key)) FROM \(table)))\
      \(mapping.usesAllauth ? " \(order)" : "")
      """
    // SQLite's NOCASE folds only ASCII, like the LIKE that Django uses for `iexact`. An index can serve NOCASE, but not
    // LIKE.
    usersByEmail = "\(select) WHERE \(email) = ?1 COLLATE NOCASE \(order)"
    let hasName = mapping.hasUsernames ? "\(mapping.quoted(.username)) = ?1" : "?1 IS NULL"
    usersByUsername = "\(select) WHERE \(hasName) \(order)"
    usersByVerifiedAddress = "\(select) WHERE \(key) IN (\(Self.keysByVerifiedAddress)) \(order)"
    let loginTime = mapping.columns[.lastLogin] == nil ? "NULL" : "\(SQLiteStore.loginTime.name)(\(mapping.quoted(.lastLogin)))"
    // Everything that the token is bound to must still be as it was when the token was checked. SQLite compares the texts
    // byte by byte, also the key: the column's collation may be coarser than that of its unique index.
    setPassword = """
      UPDATE \(table) SET \(mapping.quoted(.password)) = ?1
      WHERE \(key) = ?2 AND \(key) = ?2 COLLATE BINARY AND \(mapping.expression(.password)) = ?3 COLLATE BINARY AND \(mapping.expression(.email)) = ?4 COLLATE BINARY
        AND \(loginTime) IS ?5 AND \(mapping.expression(.isActive))
      """
    let plainSelect = "SELECT \(resetList), NULL FROM \(table)"
    let ends = ["ASC", "DESC"].map { direction in "SELECT * FROM (\(plainSelect) ORDER BY \(key) \(direction) LIMIT 5)" }
    someUsers = ends.joined(separator: " UNION ALL ")
    row = "SELECT \(mapping.list(UserColumn.allCases)) FROM \(table)"
    emailIndex = "password_reset_\(mapping.table)_\(mapping.columns[.email] ?? "email")"
    createEmailIndex = "CREATE INDEX IF NOT EXISTS \(emailIndex.quotedIdentifier) ON \(table) (\(email) COLLATE NOCASE)"
  }

  /// Selects the time through which a user's links are cancelled. It reads one row whether or not they are, as ``userByID`` does.
  private static func cancellation(of key: String) -> String {
    "(SELECT iif(user_id = \(key), at, NULL) FROM password_reset_cancellation WHERE user_id <= \(key) ORDER BY user_id DESC LIMIT 1)"
  }

  /// Returns the text of a query.
  func sql(_ query: UserQuery) -> String {
    switch query {
    case .userByID: userByID
    case .usersByEmail: usersByEmail
    case .usersByUsername: usersByUsername
    case .usersByVerifiedAddress: usersByVerifiedAddress
    }
  }

  /// Returns the value of the key's column for a key of this table.
  func parameter(_ id: UserID) -> RawParameter {
    switch mapping.key {
    case .integer: id.integer.map(RawParameter.integer) ?? .null
    case .uuid, .uuidDigits, .text: .text(mapping.key.stored(id))
    }
  }

  /// Returns the key of this table as `password_reset_cancellation` has it: as the users table writes it, as text.
  func keyText(_ id: UserID) -> String { mapping.key == .integer ? id.text : mapping.key.stored(id) }

  /// The position of the time through which a user's links are cancelled, after the columns of the user.
  static let cancellationColumn = CInt(UserColumn.ofReset.count)

  /// Returns the key in a row, or `nil` if the row has none of the table's kind.
  func id(_ row: RawRow) -> UserID? {
    switch mapping.key {
    case .integer: row.integer(UserColumn.id.position).map { UserID($0) }
    case .uuid, .uuidDigits, .text: row.text(UserColumn.id.position).flatMap(mapping.key.id(stored:))
    }
  }

  /// The type that SQLite reports for every key.
  var keyType: String { mapping.key == .integer ? "'integer'" : "'text'" }
}

extension UserColumn {
  /// The column's position in the lists of ``UserMapping/list(_:)``.
  var position: CInt {
    switch self {
    case .id: 0
    case .username: 1
    case .email: 2
    case .firstName: 3
    case .lastName: 4
    case .password: 5
    case .lastLogin: 6
    case .isActive: 7
    case .isStaff: 8
    case .isSuperuser: 9
    case .dateJoined: 10
    }
  }
}

extension UserMapping {
  /// Returns the quoted name of a column that the table has.
  func quoted(_ column: UserColumn) -> String { (columns[column] ?? column.rawValue).quotedIdentifier }

  /// Returns the expressions of several columns, for a SELECT.
  func list(_ columns: [UserColumn]) -> String { columns.map(expression).joined(separator: ", ") }

  /// Returns an expression for a column. It has a value even if the table has no such column.
  func expression(_ column: UserColumn) -> String {
    if column == .isActive { return activity.isEmpty ? "1" : activity.map(\.condition).joined(separator: " AND ") }
    guard columns[column] != nil else {
      switch column.valueKind {
      case .text: return "''"
      case .boolean: return "0"
      case .time, .other: return "NULL"
      }
    }
    return column.valueKind == .text ? "ifnull(\(quoted(column)), '')" : quoted(column)
  }
}

extension ActiveValues {
  /// The condition that the column has one of the values.
  var condition: String {
    "(\(values.map { "\(column.quotedIdentifier) IS \($0.literal)" }.joined(separator: " OR ")))"
  }
}

extension ActiveValues.Value {
  /// The value as a literal of SQL.
  var literal: String {
    switch self {
    case .null: "NULL"
    case .boolean(let isTrue): isTrue ? "1" : "0"
    case .number(let number): "\(number)"
    case .text(let text): "'\(text.replacing("'", with: "''"))'"
    }
  }
}
