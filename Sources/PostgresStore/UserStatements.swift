import Credentials
import PasswordReset

/// The statements on the site's users table.
struct UserStatements: Sendable {
  let sql: UserSQL
  let byID, byEmail, byUsername, setPassword, cancelLinks, namesake, adjustKeys: Statement
  /// Like ``byID``, without our tables, which a database that was never migrated lacks.
  let userOfTrial: Statement
  /// Does what ``setPassword`` does, and keeps the replaced password among the former ones. Its last parameter is how many to keep.
  let setPasswordKeepingHistory: Statement
  /// Changes a password as ``setPassword`` does, without our tables, and returns how many rows it changed.
  let tryPassword: Statement
  /// Selects some users: those with the lowest keys, and those with the highest.
  let someUsers: Statement
  /// Only next to django-allauth.
  let byVerifiedAddress: Statement
  /// Selects complete rows, with times in UTC.
  let row: String
  /// What ends with a new password, in its transaction.
  let afterReset: AfterResetStatements

  /// - Parameter loginZone: a name of the tz database.
  init(_ sql: UserSQL, loginZone: String, afterReset: AfterResetStatements = .none) {
    self.sql = sql
    self.afterReset = afterReset
    let table = sql.table
    let zone = quoted(literal: loginZone)
    let list = sql.list(UserColumn.ofReset, zone)
    func select(_ cancellation: String) -> String { "SELECT \(list), \(cancellation)\(sql.addressList) FROM \(table)\(sql.addressJoin)" }
    let selectUsers = select(sql.cancellation)
    let order = "ORDER BY \(sql.keyOrder)\(sql.addressOrder)"
    let orderOfAddresses = sql.mapping.usesAllauth ? " \(order)" : ""
    byID = Statement("password_reset_user", Self.userOrNearest(selectUsers, sql) + orderOfAddresses, sharing: Self.sharing(selectUsers, sql))
    userOfTrial = Statement(nil, Self.userOrNearest(select("NULL"), sql) + orderOfAddresses)
    byEmail = Statement("password_reset_users_by_email", "\(selectUsers) WHERE \(sql.hasEmail("$1")) \(order)")
    byUsername = Statement("password_reset_users_by_name", "\(selectUsers) WHERE \(sql.hasUsername("$1")) \(order)")
    byVerifiedAddress = Statement("password_reset_users_by_verified_address", "\(selectUsers) WHERE \(sql.hasVerified("$1")) \(order)")
    row = "SELECT \(sql.list(UserColumn.allCases, "'UTC'")) FROM \(table)"
    setPassword = Statement("password_reset_set_password", Self.setPassword(sql, zone, isAudited: afterReset.isEmpty))
    let history = PostgresStore.keepFormerPassword(limit: sql.mapping.usesAllauth ? "$15" : "$13")
    setPasswordKeepingHistory = Statement(
      "password_reset_set_password_history", Self.setPassword(sql, zone, isAudited: afterReset.isEmpty, and: history))
    cancelLinks = Statement("password_reset_cancel_links", Self.cancelLinks(sql))
    tryPassword = Statement(nil, "WITH changed AS (\(Self.passwordUpdate(sql, zone))) SELECT count(*) FROM changed")
    let ends = ["ASC", "DESC"].map { direction in "(SELECT \(list), NULL FROM \(table) ORDER BY \(sql.keyOrder) \(direction) LIMIT 5)" }
    someUsers = Statement(nil, ends.joined(separator: " UNION ALL "))
    namesake = Statement(
      "password_reset_namesake", "SELECT \(sql.key)::text, \(sql.expression(.email, zone)) FROM \(table) WHERE \(sql.hasName("$1"))")
    adjustKeys = Statement("password_reset_adjust_keys", Self.adjustKeys(sql))
  }

  /// The statements on the table that Django's migrations create, and ours.
  static func django(table: String, loginZone: String) -> Self {
    var types: [String: String] = ["id": "bigint"]
    for column in UserColumn.allCases where column != .id {
      types[column.rawValue] =
        switch column.valueKind {
        case .boolean: "boolean"
        case .time: UserSQL.zonedTime
        case .text, .other: "character varying"
        }
    }
    return Self(UserSQL(mapping: .django, table: table, types: types), loginZone: loginZone)
  }

  var mapping: UserMapping { sql.mapping }
  var table: String { sql.table }
  var types: [String: String] { sql.types }

  /// Returns what a statement compares with the key's column, or `nil` if no row has such a key.
  func keyText(_ id: UserID) -> String? {
    mapping.key == .integer ? id.integer.map(String.init) : mapping.key.id(id.text).map(mapping.key.stored)
  }

  /// The position of the time through which a user's links are cancelled, after the columns of the user.
  static let cancellationColumn = UserColumn.ofReset.count

  /// Returns the key in the first column of a row, or `nil` if it is not of the table's kind.
  func id(_ row: Row) -> UserID? { row.text(0).flatMap(mapping.key.id(stored:)) }

  /// Selects the user with the key, otherwise the one with the next lower key, otherwise the one with the lowest key.
  /// Every key searches for and reads one user, so that the time does not reveal which keys exist.
  private static func userOrNearest(_ select: String, _ sql: UserSQL) -> String {
    let (table, key) = (sql.table, sql.key)
    return """
      \(select) WHERE \(key) = coalesce(
        (SELECT \(key) FROM \(table) WHERE \(key) <= \(sql.keyParameter("$1")) ORDER BY \(key) DESC LIMIT 1),
        (SELECT \(key) FROM \(table) ORDER BY \(key) LIMIT 1))
      """
  }

  /// The form of ``userOrNearest(_:_:)`` for several keys: each searches for the highest key up to it, or for the lowest one. There is none if a key may have several rows: with allauth's addresses, and
  /// with a text whose collation takes different spellings for equal.
  private static func sharing(_ select: String, _ sql: UserSQL) -> Statement.Sharing {
    guard !sql.mapping.usesAllauth, sql.keyType == "bigint" || sql.keyType == "uuid" else { return .none }
    let (table, key) = (sql.table, sql.key)
    return .rows(
      several: """
        SELECT password_reset_user.*
        FROM unnest((SELECT $1::\(sql.keyType)[])) WITH ORDINALITY AS password_reset_wanted (key, position)
        LEFT JOIN LATERAL (
          \(select)
          WHERE \(key) <= greatest(password_reset_wanted.key, (SELECT \(key) FROM \(table) ORDER BY \(key) LIMIT 1))
          ORDER BY \(sql.keyOrder) DESC LIMIT 1
        ) AS password_reset_user ON true
        ORDER BY password_reset_wanted.position
        """)
  }

  /// Everything that the token is bound to must still be as it was when the token was checked. The collation makes
  /// PostgreSQL compare the texts byte by byte.
  /// - Parameters:
  ///   - source: a FROM clause.
  ///   - more: further conditions, each after `AND`.
  private static func passwordUpdate(_ sql: UserSQL, _ zone: String, from source: String = "", and more: String = "") -> String {
    """
    UPDATE \(sql.table) SET \(sql.column(.password)) = $1::text\(source)
    WHERE \(sql.hasExactKey("$2")) AND \(sql.expression(.password, zone)) = $3::text COLLATE "C"
      AND \(sql.expression(.email, zone)) = $4::text COLLATE "C" AND \(sql.expression(.isActive, zone))
      AND \(sql.loginSecond(zone)) IS NOT DISTINCT FROM $5::timestamp\(more)
    RETURNING 1
    """
  }

  /// - Parameters:
  ///   - isAudited: whether the statement records the change. If not, a later one of the transaction does.
  ///   - more: further parts of the statement, each after a comma.
  private static func setPassword(_ sql: UserSQL, _ zone: String, isAudited: Bool, and more: String = "") -> String {
    """
    WITH \(lockedCancellation(sql)), changed AS (
      \(passwordUpdate(sql, zone, from: " FROM password_reset_link", and: isNotCancelled + sql.hasSameAddresses(ofKey: "$2")))
    ), audit AS (
      INSERT INTO password_reset.audit (at, event, user_id, request_id, client_key)
      SELECT $6::bigint, $7::text, $8::text, $9::text, $11::text FROM changed\(isAudited ? "" : " WHERE false")
    ), jobs AS (
      \(OutboxStatements.insertJobs(from: "$10", ifAny: "changed")) RETURNING id
    )\(more)
    SELECT jobs.id FROM changed LEFT JOIN jobs ON true ORDER BY jobs.id
    """
  }

  /// Locks the row with the time through which the user's links are cancelled, and reads that time as it is now, even if another
  /// transaction has just committed it: a statement otherwise sees only what was committed before it began. If there is no row, it
  /// adds one that cancels nothing, so that a cancellation waits until this transaction ends.
  private static func lockedCancellation(_ sql: UserSQL) -> String {
    """
    password_reset_link AS (
      INSERT INTO password_reset.cancellation AS known (user_id, at) VALUES (\(sql.keyParameter("$2"))::text, 0)
      ON CONFLICT (user_id) DO UPDATE SET at = known.at RETURNING at AS password_reset_cancelled
    )
    """
  }

  /// A further condition: the link was made after the cancelled ones. `$12` is its time, or NULL if no link allows the change.
  private static let isNotCancelled = "\n  AND ($12::bigint IS NULL OR password_reset_cancelled < $12::bigint)"

  private static func cancelLinks(_ sql: UserSQL) -> String {
    """
    WITH cancelled AS (
      INSERT INTO password_reset.cancellation AS known (user_id, at) VALUES (\(sql.keyParameter("$1"))::text, $2::bigint)
      ON CONFLICT (user_id) DO UPDATE SET at = greatest(known.at, excluded.at, least(known.at + 1000, excluded.at + 60000)) RETURNING 1
    ), audit AS (
      INSERT INTO password_reset.audit (at, event, user_id, request_id, client_key)
      SELECT $3::bigint, $4::text, $5::text, $6::text, $7::text FROM cancelled
    ), jobs AS (
      \(OutboxStatements.insertJobs(from: "$8", ifAny: "cancelled")) RETURNING id
    )
    SELECT jobs.id FROM cancelled LEFT JOIN jobs ON true ORDER BY jobs.id
    """
  }

  /// Makes the next key greater than all keys. Otherwise Django would fail to add a user after one was added with a key.
  private static func adjustKeys(_ sql: UserSQL) -> String {
    guard sql.mapping.key == .integer else { return "SELECT" }
    let name = quoted(literal: sql.mapping.columns[.id] ?? "id")
    let sequence = "pg_get_serial_sequence(\(quoted(literal: sql.table)), \(name))"
    return """
      SELECT setval(\(sequence), key) FROM (SELECT max(\(sql.key)) AS key FROM \(sql.table)) AS keys
      WHERE key > coalesce(pg_sequence_last_value(\(sequence)::regclass), 0)
      """
  }
}

/// Returns a text as a literal of SQL.
func quoted(literal text: String) -> String {
  let escaped = text.replacing("'", with: "''")
  return text.contains("\\") ? "E'\(escaped.replacing("\\", with: "\\\\"))'" : "'\(escaped)'"
}
