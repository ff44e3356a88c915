import PasswordReset

/// Checks that the service can use the `auth_user` of a database.
enum UserTableCheck {
  /// Returns the quoted name of the table that `auth_user` means on this connection, as for Django's own statements. If there
  /// is none, it is the name of the table that a migration creates.
  static func tableName(_ session: PostgresSession) throws(StoreOpenError) -> String {
    try session.value(
      """
      SELECT quote_ident(coalesce(
        (SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = to_regclass('auth_user')),
        current_schema(), 'public')) || '.auth_user'
      """)
  }

  /// Throws if the server does not know the time zone.
  static func checkZone(_ zone: String, _ session: PostgresSession) throws(StoreOpenError) {
    do {
      _ = try session.query("SELECT now() AT TIME ZONE $1::text", zone)
    } catch let error where error.kind == .unusable {
      throw StoreOpenError(.unusable, "the PostgreSQL server does not know the time zone \(zone); check TIME_ZONE")
    }
  }

  /// Throws if there is an `auth_user` that is not Django's, or if the database belongs to a site and has none.
  /// - Returns: whether there is an `auth_user`.
  static func passes(_ session: PostgresSession) throws(StoreOpenError) -> Bool {
    guard let kind = try session.query("SELECT relkind FROM pg_class WHERE oid = to_regclass('auth_user')").first?.text(0) else {
      try checkThatNoSiteOwnsDatabase(session)
      return false
    }
    guard ["r", "p"].contains(kind) else { throw .unusableUserTable(reason: "it is not an ordinary table") }
    try checkColumns(session)
    try checkKey(session)
    return true
  }

  /// Throws if the tables are those of a site. Its users must then be in another table, and an empty `auth_user` would
  /// be useless.
  private static func checkThatNoSiteOwnsDatabase(_ session: PostgresSession) throws(StoreOpenError) {
    let rows = try session.query(
      """
      SELECT relname, array_agg(attname::text) @> '{password,last_login}'::text[]
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace JOIN pg_attribute ON attrelid = pg_class.oid
      WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema', 'password_reset') AND attnum > 0
      GROUP BY pg_class.oid, relname
      HAVING array_agg(attname::text) @> '{password,last_login}'::text[] OR relname IN ('django_migrations', 'django_content_type')
      ORDER BY 2 DESC, 1 DESC LIMIT 1
      """)
    if let row = rows.first { throw .missingUserTable(found: row.text(0) ?? "", hasUsers: row.isTrue(1)) }
  }

  private static func checkColumns(_ session: PostgresSession) throws(StoreOpenError) {
    let rows = try session.query(
      """
      SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
      WHERE attrelid = to_regclass('auth_user') AND attnum > 0 AND NOT attisdropped
      """)
    let types = Dictionary(rows.map { ($0.text(0) ?? "", $0.text(1) ?? "") }) { first, _ in first }
    let missing = UserStatements.columns.filter { types[$0] == nil }
    guard missing.isEmpty else { throw .foreignUserTable(missing: missing) }
    let expected = [
      "last_login": "timestamp with time zone", "date_joined": "timestamp with time zone", "is_active": "boolean", "is_staff": "boolean",
      "is_superuser": "boolean",
    ]
    for (column, type) in expected.sorted(by: { $0.key < $1.key }) where types[column] != type {
      throw .unusableUserTable(reason: "its column \(column) has the type \(types[column] ?? ""), and must have \(type)")
    }
    guard ["smallint", "integer", "bigint"].contains(types["id"]) else {
      throw .unusableUserTable(reason: "its key id has the type \(types["id"] ?? ""), and must be an integer")
    }
  }

  /// Throws unless `id` alone is the primary key.
  private static func checkKey(_ session: PostgresSession) throws(StoreOpenError) {
    let rows = try session.query(
      """
      SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
      WHERE indrelid = to_regclass('auth_user') AND indisprimary
      """)
    guard rows.map({ $0.text(0) }) == ["id"] else { throw .unusableUserTable(reason: "its primary key is not the column id") }
  }
}
