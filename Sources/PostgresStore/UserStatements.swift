/// The statements on the site's users table.
struct UserStatements: Sendable {
  /// The columns of Django's `auth_user` that the store reads or writes.
  static let columns = [
    "id", "username", "email", "first_name", "last_name", "password", "last_login", "is_active", "is_staff", "is_superuser", "date_joined",
  ]

  /// The name of the table with its schema, quoted.
  let table: String
  let byID, byEmail, byUsername, setPassword, rowByUsername, insert, insertWithID, namesake, adjustKeys, setActive: Statement
  /// The columns of a complete row, with times in UTC.
  let rowColumns: String

  /// - Parameter loginZone: a name of the tz database.
  init(table: String, loginZone: String) {
    self.table = table
    let zone = quoted(literal: loginZone)
    let columns = "id, username, email, first_name, last_name, password, \(Self.text(of: "last_login", zone)), is_active"
    byID = Statement("password_reset_user", Self.userOrNearest(columns, table))
    // Django's `iexact` on PostgreSQL.
    byEmail = Statement(
      "password_reset_users_by_email", "SELECT \(columns) FROM \(table) WHERE UPPER(email::text) = UPPER($1::text) ORDER BY id")
    byUsername = Statement("password_reset_users_by_name", "SELECT \(columns) FROM \(table) WHERE username = $1::text ORDER BY id")
    rowColumns = """
      id, username, email, first_name, last_name, password, \(Self.text(of: "last_login", "'UTC'")), is_active, is_staff, is_superuser, \
      \(Self.text(of: "date_joined", "'UTC'"))
      """
    rowByUsername = Statement("password_reset_row", "SELECT \(rowColumns) FROM \(table) WHERE username = $1::text")
    setPassword = Statement("password_reset_set_password", Self.setPassword(table, zone))
    let list = Self.columns.dropFirst().joined(separator: ", ")
    let values = """
      $2::text, $3::text, $4::text, $5::text, $6::text, $7::timestamp AT TIME ZONE 'UTC', $8::boolean, $9::boolean, $10::boolean, \
      $11::timestamp AT TIME ZONE 'UTC'
      """
    // The empty use of $1 gives both statements the same parameters.
    insert = Statement(
      "password_reset_add", "INSERT INTO \(table) (\(list)) SELECT \(values) WHERE $1::bigint IS NULL ON CONFLICT DO NOTHING RETURNING id")
    insertWithID = Statement(
      "password_reset_add_with_id",
      "INSERT INTO \(table) (id, \(list)) SELECT $1::bigint, \(values) ON CONFLICT DO NOTHING RETURNING id")
    namesake = Statement("password_reset_namesake", "SELECT id, email FROM \(table) WHERE username = $1::text")
    adjustKeys = Statement("password_reset_adjust_keys", Self.adjustKeys(table))
    setActive = Statement("password_reset_set_active", "UPDATE \(table) SET is_active = $1::boolean WHERE username = $2::text")
  }

  /// Selects the user with the key, otherwise the one with the next lower key, otherwise the one with the lowest key.
  /// Every key searches for and reads one user, so that the time does not reveal which keys exist.
  private static func userOrNearest(_ columns: String, _ table: String) -> String {
    """
    SELECT \(columns) FROM \(table)
    WHERE id = coalesce((SELECT max(id) FROM \(table) WHERE id <= $1::bigint), (SELECT min(id) FROM \(table)))
    """
  }

  /// Everything that the token is bound to must still be as it was when the token was checked. The collation makes
  /// PostgreSQL compare the texts byte by byte.
  private static func setPassword(_ table: String, _ zone: String) -> String {
    """
    WITH changed AS (
      UPDATE \(table) SET password = $1::text
      WHERE id = $2::bigint AND password::text = $3::text COLLATE "C" AND email::text = $4::text COLLATE "C" AND is_active
        AND date_trunc('second', last_login AT TIME ZONE \(zone)) IS NOT DISTINCT FROM $5::timestamp
      RETURNING id
    ), audit AS (
      INSERT INTO password_reset.audit (at, event, user_id, request_id) SELECT $6::bigint, $7::text, $8::text, $9::text FROM changed
    ), jobs AS (
      INSERT INTO password_reset.outbox (kind, identifier, user_id, locale, request_id, created_at, due_at, owner, attempts)
      SELECT kind, identifier, user_id, locale, request_id, created_at, due_at, owner, attempts
      FROM changed, ROWS FROM (json_to_recordset($10::json) AS (
        kind text, identifier text, user_id text, locale text, request_id text, created_at bigint, due_at bigint, owner text, attempts integer
      )) WITH ORDINALITY AS job (kind, identifier, user_id, locale, request_id, created_at, due_at, owner, attempts, position)
      ORDER BY position RETURNING id
    )
    SELECT jobs.id FROM changed LEFT JOIN jobs ON true ORDER BY jobs.id
    """
  }

  /// Makes the next key greater than all keys. Otherwise Django would fail to add a user after one was added with a key.
  private static func adjustKeys(_ table: String) -> String {
    let sequence = "pg_get_serial_sequence(\(quoted(literal: table)), 'id')"
    return """
      SELECT setval(\(sequence), key) FROM (SELECT max(id) AS key FROM \(table)) AS keys
      WHERE key > coalesce(pg_sequence_last_value(\(sequence)::regclass), 0)
      """
  }

  /// Returns an expression for a time in a zone as text with its era; `infinite` is a time that Django cannot read.
  static func text(of column: String, _ zone: String) -> String {
    """
    CASE WHEN isfinite(\(column)) THEN to_char(\(column) AT TIME ZONE \(zone), 'YYYY-MM-DD HH24:MI:SS.US AD') \
    WHEN \(column) IS NOT NULL THEN 'infinite' END
    """
  }
}

/// Returns a text as a literal of SQL.
func quoted(literal text: String) -> String { "'\(text.replacing("'", with: "''"))'" }
