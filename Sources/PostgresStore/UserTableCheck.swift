import PasswordReset

/// Checks that the service can use the users table of a database.
enum UserTableCheck {
  /// Throws if the server does not know the time zone.
  static func checkZone(_ zone: String, _ session: PostgresSession) throws(StoreOpenError) {
    do {
      _ = try session.query("SELECT now() AT TIME ZONE $1::text", zone)
    } catch let error where error.kind == .unusable {
      throw StoreOpenError(.unusable, "the PostgreSQL server does not know the time zone \(zone); check TIME_ZONE")
    }
  }

  /// Returns the statements on the users table, or `nil` if a migration is to create it.
  ///
  /// Throws if the table cannot be used, or if there is none and the database belongs to a site.
  static func statements(of table: UserTable, loginZone: String, _ session: PostgresSession) throws(StoreOpenError) -> UserStatements? {
    guard let name = try quotedName(of: table, session) else {
      do { try checkThatTableMayBeCreated(table, session) } catch {
        // Another instance may have created it since the search for it.
        guard try quotedName(of: table, session) != nil else { throw error }
        return try statements(of: table, loginZone: loginZone, session)
      }
      return nil
    }
    let kind = try session.query("SELECT relkind FROM pg_class WHERE oid = $1::regclass", name).first?.text(0) ?? ""
    guard ["r", "p"].contains(kind) else { throw .unusableUserTable(table.name, faults: ["it is not an ordinary table"]) }
    // A unique index does not cover the rows of such tables. Partitions are no problem, because theirs does.
    if kind == "r", try session.query("SELECT FROM pg_inherits WHERE inhparent = $1::regclass LIMIT 1", name).count > 0 {
      throw .unusableUserTable(table.name, faults: ["other tables inherit from it, so that nothing keeps its keys unique"])
    }
    let columns = try columns(of: name, session)
    let mapping = try UserMapping(table, found: columns, unique: try uniqueColumns(of: name, session))
    let used = Array(mapping.columns.values) + mapping.activity.map(\.column)
    let types = Dictionary(columns.filter { used.contains(where: $0.isNamed) }.map { ($0.name, $0.type) }) { first, _ in first }
    var sql = UserSQL(mapping: mapping, table: name, types: types)
    if mapping.usesAllauth { sql.addressTable = try addressTable(of: mapping, name, session) }
    let afterReset = try AfterResetStatements(sql, columns: columns, table.afterReset, session)
    try afterReset.checkPrivileges(sql, session)
    try afterReset.check(session)
    let statements = UserStatements(sql, loginZone: loginZone, afterReset: afterReset)
    try checkValues(of: statements, session)
    return statements
  }

  /// Returns the quoted name, with its schema, of allauth's table: the one in the schema of the users table, otherwise the
  /// one that the name alone means on this connection.
  static func addressTableName(nextTo table: String?, _ session: PostgresSession) throws(StoreOpenError) -> String? {
    try tableName(AddressTable.name, nextTo: table, session)
  }

  /// Returns the quoted name, with its schema, of another table of the site: the one in the schema of the users table, otherwise
  /// the one that the name alone means on this connection.
  static func tableName(_ name: String, nextTo table: String?, _ session: PostgresSession) throws(StoreOpenError) -> String? {
    try session.query(
      """
      SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
      WHERE relname = $1::text AND relkind IN ('r', 'p')
        AND (relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass($2::text)) OR pg_class.oid = to_regclass($1::text))
      ORDER BY pg_class.oid = to_regclass($1::text) LIMIT 1
      """, name, table
    ).first?.text(0)
  }

  /// Returns the name of allauth's table. Throws if there is none, or if it cannot serve.
  private static func addressTable(of users: UserMapping, _ table: String, _ session: PostgresSession) throws(StoreOpenError) -> String {
    guard let name = try addressTableName(nextTo: table, session) else { throw .missingAddressTable }
    try AddressTable.check(columns(of: name, session), users: users)
    return name
  }

  /// Returns the statements on the `auth_user` that a migration creates.
  static func statementsOfNewTable(loginZone: String, _ session: PostgresSession) throws(StoreOpenError) -> UserStatements {
    let table = try session.value("SELECT quote_ident(coalesce(current_schema(), 'public')) || '.auth_user'")
    return .django(table: table, loginZone: loginZone)
  }

  /// Returns the quoted name, with its schema, of the table that the setting means on this connection.
  private static func quotedName(of table: UserTable, _ session: PostgresSession) throws(StoreOpenError) -> String? {
    var candidates = [quoted(identifier: table.name)]
    if let dot = table.name.firstIndex(of: "."), dot != table.name.startIndex, table.name.index(after: dot) != table.name.endIndex {
      candidates.append(
        "\(quoted(identifier: String(table.name[..<dot]))).\(quoted(identifier: String(table.name[table.name.index(after: dot)...])))")
    }
    for candidate in candidates {
      let name = try session.query(
        """
        SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE pg_class.oid = to_regclass($1::text)
        """, candidate)
      if let name = name.first?.text(0) { return name }
    }
    return nil
  }

  /// Throws unless the table is Django's own and no site owns the database. The users of a site must be in another table,
  /// and an empty `auth_user` would be useless.
  private static func checkThatTableMayBeCreated(_ table: UserTable, _ session: PostgresSession) throws(StoreOpenError) {
    let rows = try session.query(
      """
      SELECT CASE WHEN pg_table_is_visible(pg_class.oid) THEN relname ELSE nspname || '.' || relname END, relname, array_to_string(array_agg(attname ORDER BY attnum), chr(10))
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace JOIN pg_attribute ON attrelid = pg_class.oid
      WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema', 'password_reset') AND attnum > 0 AND NOT attisdropped
      GROUP BY pg_class.oid, relname, nspname ORDER BY 1
      """)
    let tables = rows.map { (shown: $0.text(0) ?? "", name: $0.text(1) ?? "", columns: ($0.text(2) ?? "").split(separator: "\n").map(String.init)) }
    let candidates = tables.filter { UserTable.hasLikelyColumns($0.columns) }.map(\.shown)
    let djangoTable = tables.map(\.name).last { ["django_migrations", "django_content_type"].contains($0) }
    if !table.mayBeCreated || !candidates.isEmpty || djangoTable != nil {
      throw .missingUserTable(table.name, candidates: candidates, djangoTable: djangoTable)
    }
  }

  /// The modifier -1 makes the server write `bpchar` and `"bit"`: a cast to `character` or `bit` would cut a value to one
  /// character.
  private static func columns(of table: String, _ session: PostgresSession) throws(StoreOpenError) -> [TableColumn] {
    let rows = try session.query(
      """
      SELECT attname, format_type(coalesce(nullif(typbasetype, 0), atttypid), -1), attgenerated <> '',
        attnotnull AND NOT atthasdef AND attidentity = '', CASE WHEN typtype = 'd' THEN typtypmod ELSE atttypmod END
      FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
      """, table)
    return rows.map { row in
      let type = row.text(1) ?? ""
      // The modifier of a length is four more than the length.
      let length = row.integer(4).map { Int($0) - 4 } ?? 0
      return TableColumn(
        name: row.text(0) ?? "", type: type, kinds: kinds(type), key: key(type, length: length), isGenerated: row.isTrue(2),
        needsValue: row.isTrue(3))
    }
  }

  private static func kinds(_ type: String) -> Set<TableColumn.Kind> {
    switch type {
    case "text", "character varying", "bpchar": [.text]
    case "boolean": [.boolean]
    case UserSQL.zonedTime, "timestamp without time zone": [.time]
    default: type == "citext" || type.hasSuffix(".citext") ? [.text] : []
    }
  }

  private static func key(_ type: String, length: Int) -> UserKey? {
    switch type {
    case "smallint", "integer", "bigint": .integer
    case "uuid": .uuid
    case "bpchar": length == 32 ? .uuidDigits : .text
    case "text", "character varying": .text
    default: nil
    }
  }

  /// Returns the columns that alone are the primary key, or unique and never NULL.
  private static func uniqueColumns(of table: String, _ session: PostgresSession) throws(StoreOpenError) -> Set<String> {
    let rows = try session.query(
      """
      SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
      WHERE indrelid = $1::regclass AND indisunique AND indisvalid AND indnkeyatts = 1 AND indpred IS NULL AND attnotnull
      """, table)
    return Set(rows.map { $0.text(0) ?? "" })
  }

  /// Throws if a value that `USERS_COLUMNS` names is none of the column's type, or cannot be compared with the column.
  private static func checkValues(of users: UserStatements, _ session: PostgresSession) throws(StoreOpenError) {
    for condition in users.mapping.activity {
      for value in condition.values where value != .null {
        do {
          let literal = users.sql.literal(value, for: condition.column)
          _ = try session.query("SELECT \(literal) IS NOT DISTINCT FROM \(literal)")
        } catch let error where error.kind == .unusable {
          let type = users.types[condition.column] ?? ""
          throw .unusableUserTable(
            users.mapping.table, faults: ["is_active: the column \(condition.column) of the type \(type) cannot be compared with one of its values"])
        }
      }
    }
  }
}
