public import PasswordReset

/// A database that is not open as a store: `check` inspects it.
public struct PostgresDatabase: Sendable {
  let address: PostgresAddress
  let users: UserTable
  let loginZone: String

  /// Names a database. The parameters are those of ``PostgresStore``.
  public init(_ address: PostgresAddress, users: UserTable = .django, loginZone: String = "UTC") {
    self.address = address
    self.users = users
    self.loginZone = loginZone
  }
}

extension PostgresDatabase: DatabaseInspector {
  /// How many seconds the search for damaged users may take.
  private static let searchSeconds = 60

  public func inspect(isThorough: Bool) throws(StoreOpenError) -> DatabaseCondition {
    let session = try PostgresSession(address)
    try UserTableCheck.checkZone(loginZone, session)
    try PostgresStore.checkVersion(session)
    let applied = try PostgresStore.appliedMigrations(session)
    let users = try UserTableCheck.statements(of: users, loginZone: loginZone, session)
    if let users { try Privileges.check(users, session) }
    var damaged: Int?
    if isThorough, let users { damaged = try damagedUsers(users, session) }
    return DatabaseCondition(
      hasPendingMigrations: users == nil || applied != Migrations.all.count, users: users?.mapping, damagedUsers: damaged ?? 0,
      hasAllauth: try UserTableCheck.addressTableName(nextTo: users?.table, session) != nil,
      risks: try risks(users, session))
  }

  /// Returns how many rows cannot be read: those with a time outside the years 1 to 9999, in a column that the role may read,
  /// and those whose key is not of the table's kind.
  private func damagedUsers(_ users: UserStatements, _ session: PostgresSession) throws(StoreOpenError) -> Int {
    try session.setStatementTimeout(milliseconds: Self.searchSeconds * 1000)
    _ = try session.value("SELECT set_config('enable_seqscan', 'on', false)")
    var conditions = users.sql.hasUnreadableKey
    for name in [UserColumn.lastLogin, .dateJoined].compactMap({ users.mapping.columns[$0] }) {
      let isReadable = try session.query("SELECT has_column_privilege($1::text, $2::text, 'SELECT')", users.table, name)
      guard isReadable.first?.isTrue(0) == true else { continue }
      let time = quoted(identifier: name)
      conditions.append("NOT (isfinite(\(time)) AND \(time) >= '0001-01-01 00:00:00' AND \(time) < '10000-01-01 00:00:00')")
    }
    guard !conditions.isEmpty else { return 0 }
    let sql = "SELECT count(*) FROM \(users.table) WHERE \(conditions.joined(separator: " OR "))"
    return Int(try session.query(sql, seconds: Self.searchSeconds + 3).first?.integer(0) ?? 0)
  }

  private func risks(_ users: UserStatements?, _ session: PostgresSession) throws(StoreOpenError) -> [DatabaseRisk] {
    var risks: [DatabaseRisk] = []
    for setting in ["fsync", "full_page_writes"] where try session.value("SHOW \(setting)") == "off" {
      risks.append(
        DatabaseRisk(
          .unsafeServer, "The PostgreSQL server runs with \(setting)=off: a power failure can lose accepted requests, or damage the database.",
          hint: "Turn it on in postgresql.conf, and reload the configuration."))
    }
    if try session.value("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'") == "t" {
      risks.append(
        DatabaseRisk(
          .readOnly, "The PostgreSQL server is a standby, or read-only; until that changes, the service answers with 503.",
          hint: "Name the primary in DATABASE_URL, or all hosts with target_session_attrs=read-write."))
    }
    risks += try self.users.afterReset.risks { (name: String) throws(StoreOpenError) -> Bool in
      try UserTableCheck.tableName(name, nextTo: users?.table, session) != nil
    }
    if let risk = try ClockDifference.risk(session) { risks.append(risk) }
    var excess: [String] = []
    if let users { excess = try Privileges.excess(users, session) }
    if !excess.isEmpty {
      risks.append(
        DatabaseRisk(
          .excessivePrivileges, "The role in DATABASE_URL can do more than the service needs: \(excess.joined(separator: ", ")).",
          hint: "Create a role for the service; `password-reset grants` prints what it needs."))
    }
    if let users, try !users.hasEmailIndex(session) {
      risks.append(
        DatabaseRisk(
          .missingEmailIndex, "The table \(users.mapping.table) has no index for look-ups by address, so that each request reads the whole table.",
          hint: "Run as the owner of the table: \(users.createEmailIndex(concurrently: true));"))
    }
    return risks
  }
}
