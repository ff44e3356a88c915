public import PasswordReset

extension PostgresStore: StoreSchema {
  public func migrate() throws(StoreOpenError) {
    let session = try PostgresSession(address, onStatement: onStatement)
    guard try !isUpToDate(session) else { return }
    try session.setStatementTimeout(milliseconds: Self.migrationSeconds * 1000)
    _ = try session.query("BEGIN")
    // Processes that start at the same time migrate one after the other. The lock ends with the transaction.
    _ = try run("SELECT pg_advisory_xact_lock(hashtextextended('password_reset.migrations', 0))", session)
    try applyMigrations(session)
    _ = try run("COMMIT", session)
    try createEmailIndex(session)
  }

  /// How long a statement of a migration may take.
  private static let migrationSeconds = 60
  /// The most users for which a migration creates the index, which takes about a second for a million of them and
  /// lets no one change a user meanwhile.
  private static let maximumUsersForIndex = 1_000_000

  private func run(_ sql: String, _ session: PostgresSession) throws(StoreOpenError) -> Rows {
    try session.query(sql, seconds: Self.migrationSeconds + 3)
  }

  private func applyMigrations(_ session: PostgresSession) throws(StoreOpenError) {
    let hasUsers = try checkSchema(session)
    if !hasUsers { for statement in Migrations.createUserTable(users.table) { _ = try run(statement, session) } }
    let applied = try Self.appliedMigrations(session)
    if applied == nil { for statement in Migrations.createSchema { _ = try run(statement, session) } }
    for (index, migration) in Migrations.all.enumerated() where index >= applied ?? 0 {
      for statement in migration.statements { _ = try run(statement, session) }
      _ = try session.query("INSERT INTO password_reset.migrations (number, name) VALUES ($1::integer, $2::text)", index + 1, migration.name)
    }
  }

  /// Creates the index for look-ups by address, unless the table is another role's, too large, or in use for seconds.
  /// `check` prints the statement while there is none.
  private func createEmailIndex(_ session: PostgresSession) throws(StoreOpenError) {
    guard try canCreateEmailIndex(session) else { return }
    _ = try session.query("SELECT set_config('lock_timeout', '3s', false)")
    do {
      _ = try run(users.createEmailIndex(), session)
    } catch let error where error.kind == .locked {
      return
    } catch {
      // Another process has created it at the same moment.
      guard try users.hasEmailIndex(session) else { throw error }
    }
  }

  private func canCreateEmailIndex(_ session: PostgresSession) throws(StoreOpenError) -> Bool {
    guard try !users.hasEmailIndex(session) else { return false }
    return try session.query(
      "SELECT pg_has_role(relowner, 'USAGE') AND reltuples <= \(Self.maximumUsersForIndex) FROM pg_class WHERE oid = to_regclass($1::text)",
      users.table
    ).first?.isTrue(0) ?? false
  }

  private func isUpToDate(_ session: PostgresSession) throws(StoreOpenError) -> Bool {
    guard try checkSchema(session), try Self.appliedMigrations(session) == Migrations.all.count else { return false }
    try Privileges.check(users, session)
    return try !canCreateEmailIndex(session)
  }

  /// Throws if the database contains something that this release must not touch: a newer schema, or a users table that it
  /// cannot use.
  /// - Returns: whether there is a users table.
  private func checkSchema(_ session: PostgresSession) throws(StoreOpenError) -> Bool {
    try Self.checkVersion(session)
    return try UserTableCheck.statements(of: userTable, loginZone: loginZone, session) != nil
  }

  /// Throws if a newer release wrote the schema.
  static func checkVersion(_ session: PostgresSession) throws(StoreOpenError) {
    if let applied = try appliedMigrations(session), applied > Migrations.all.count { throw .newerSchema }
  }

  /// Returns the number of the last migration, or `nil` if there is no schema yet.
  static func appliedMigrations(_ session: PostgresSession) throws(StoreOpenError) -> Int? {
    guard try !session.value("SELECT to_regclass('password_reset.migrations')").isEmpty else { return nil }
    return Int(try session.value("SELECT coalesce(max(number), 0) FROM password_reset.migrations"))
  }
}

extension UserStatements {
  /// The statement that creates the index for look-ups by address.
  func createEmailIndex(concurrently: Bool = false) -> String {
    let name = "password_reset_\(mapping.table.replacing(".", with: "_"))_\(mapping.columns[.email] ?? "email")"
    // The server would cut a longer name, which another index may have. Without one, it finds a free name.
    let shown = name.utf8.count < 64 ? "\(quoted(identifier: name)) " : ""
    return "CREATE INDEX \(concurrently ? "CONCURRENTLY " : "")\(shown)ON \(table) (UPPER(\(sql.column(.email))::text))"
  }

  /// Returns whether an index serves look-ups by address.
  func hasEmailIndex(_ session: PostgresSession) throws(StoreOpenError) -> Bool {
    // The server omits a cast of text to text.
    try session.query(
      """
      SELECT FROM pg_index WHERE indrelid = to_regclass($1::text) AND indisvalid AND indpred IS NULL
        AND pg_get_indexdef(indexrelid, 1, false) IN (format('upper((%I)::text)', $2::text), format('upper(%I)', $2::text))
      """, table, mapping.columns[.email] ?? "email"
    ).count > 0
  }
}
