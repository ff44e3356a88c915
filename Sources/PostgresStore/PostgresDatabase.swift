public import PasswordReset

/// A database that is not open as a store: `check` inspects it.
public struct PostgresDatabase: Sendable {
  private let address: PostgresAddress
  private let loginZone: String

  /// - Parameter loginZone: as for ``PostgresStore``.
  public init(_ address: PostgresAddress, loginZone: String = "UTC") {
    self.address = address
    self.loginZone = loginZone
  }
}

extension PostgresDatabase: DatabaseInspector {
  /// How many seconds the search for damaged users may take.
  private static let searchSeconds = 60

  public func inspect(isThorough: Bool) throws(StoreOpenError) -> DatabaseCondition {
    let session = try PostgresSession(address)
    try UserTableCheck.checkZone(loginZone, session)
    let hasUsers = try PostgresStore.checkSchema(session)
    let applied = try PostgresStore.appliedMigrations(session)
    try Privileges.check(session)
    return DatabaseCondition(
      hasPendingMigrations: !hasUsers || applied != Migrations.all.count,
      damagedUsers: isThorough && hasUsers ? try damagedUsers(session) : 0,
      hasAllauth: try !session.value("SELECT to_regclass('account_emailaddress')").isEmpty,
      risks: try risks(session, hasUsers: hasUsers))
  }

  /// Returns how many rows Django cannot read: those with a time outside the years 1 to 9999, in a column that the role may
  /// read.
  private func damagedUsers(_ session: PostgresSession) throws(StoreOpenError) -> Int {
    try session.setStatementTimeout(milliseconds: Self.searchSeconds * 1000)
    _ = try session.value("SELECT set_config('enable_seqscan', 'on', false)")
    let readable = try session.query(
      "SELECT name FROM (VALUES ('last_login'), ('date_joined')) AS times (name) WHERE has_column_privilege('auth_user', name, 'SELECT')")
    let conditions = readable.map { $0.text(0) ?? "" }.map {
      "NOT (isfinite(\($0)) AND \($0) >= '0001-01-01 00:00:00+00' AND \($0) < '10000-01-01 00:00:00+00')"
    }
    let sql = "SELECT count(*) FROM \(try UserTableCheck.tableName(session)) WHERE \(conditions.joined(separator: " OR "))"
    return Int(try session.query(sql, seconds: Self.searchSeconds + 3).first?.integer(0) ?? 0)
  }

  private func risks(_ session: PostgresSession, hasUsers: Bool) throws(StoreOpenError) -> [DatabaseRisk] {
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
    if let risk = try ClockDifference.risk(session) { risks.append(risk) }
    let excess = hasUsers ? try Privileges.excess(session) : []
    if !excess.isEmpty {
      risks.append(
        DatabaseRisk(
          .excessivePrivileges, "The role in DATABASE_URL can do more than the service needs: \(excess.joined(separator: ", ")).",
          hint: "Create a role for the service; `password-reset grants` prints what it needs."))
    }
    if hasUsers, try !PostgresStore.hasEmailIndex(session) {
      let statement = Migrations.createEmailIndex(try UserTableCheck.tableName(session), concurrently: true)
      risks.append(
        DatabaseRisk(
          .missingEmailIndex, "The table auth_user has no index for look-ups by address, so that each request reads the whole table.",
          hint: "Run as the owner of the table: \(statement);"))
    }
    return risks
  }
}
