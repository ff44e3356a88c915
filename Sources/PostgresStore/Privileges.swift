public import PasswordReset

/// The privileges that the service's role needs, and no more.
public enum Privileges {
  /// The privileges on each of our tables.
  static let ownTables: [(table: String, privileges: [String])] = [
    ("migrations", ["SELECT"]), ("outbox", ["SELECT", "INSERT", "UPDATE", "DELETE"]), ("mail_window", ["SELECT", "INSERT", "DELETE"]),
    ("audit", ["SELECT", "INSERT", "DELETE"]), ("client_limit", ["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("cancellation", ["SELECT", "INSERT", "UPDATE", "DELETE"]), ("password_history", ["SELECT", "INSERT", "DELETE"]),
  ]

  /// Returns the statements that give the privileges to a role. The owner of the tables runs them.
  ///
  /// They name the columns as the settings do, because they use no database.
  public static func statements(role: String, users: UserTable) -> String {
    let role = quoted(identifier: role)
    let ours = ownTables.map { "GRANT \($0.privileges.joined(separator: ", ")) ON password_reset.\($0.table) TO \(role);" }
    let table = users.identifier()
    // A role has no access to another schema than `public` by default.
    let schemas = (["password_reset"] + users.name.split(separator: ".", maxSplits: 1).dropLast().map { shown(identifier: String($0)) })
      .joined(separator: ", ")
    let addressColumns = AddressTable.columns.joined(separator: ", ")
    let addresses = users.usesAllauth ? "\nGRANT SELECT (\(addressColumns)) ON \(users.schemaPrefix)\(AddressTable.name) TO \(role);" : ""
    let afterReset = users.afterReset.grants(to: role, table: table, schemaPrefix: users.schemaPrefix).map { "\n" + $0 }.joined()
    func list(_ columns: [UserColumn]) -> String {
      var names: [String] = []
      for name in columns.flatMap(users.names(of:)) where !names.contains(name) { names.append(name) }
      return names.map(shown(identifier:)).joined(separator: ", ")
    }
    let others = list(UserColumn.allCases.filter { !UserColumn.ofReset.contains($0) })
    var optional: [String] = []
    if !others.isEmpty { optional += ["For `users list`, `users show` and `users export`:", "GRANT SELECT (\(others)) ON \(table) TO \(role);"] }
    if !list([.isActive]).isEmpty {
      optional += ["For `users activate` and `users deactivate`:", "GRANT UPDATE (\(list([.isActive]))) ON \(table) TO \(role);"]
    }
    optional += ["For `users add` and `users import`:", "GRANT INSERT ON \(table) TO \(role);"]
    // The name that PostgreSQL gives to the sequence of a column.
    let sequence = users.identifier(suffix: "_\(users.names(of: .id).first ?? "id")_seq")
    optional += ["Also this, unless the database has no sequence for the keys:", "GRANT SELECT, UPDATE ON SEQUENCE \(sequence) TO \(role);"]
    return """
      -- Run this as the owner of the tables, after `password-reset migrate` as that owner.
      -- The role must exist: CREATE ROLE \(role) LOGIN PASSWORD '…';
      GRANT USAGE ON SCHEMA \(schemas) TO \(role);
      \(ours.joined(separator: "\n"))
      GRANT SELECT (\(list(UserColumn.ofReset))), UPDATE (\(list([.password]))) ON \(table) TO \(role);\(addresses)\(afterReset)
      \(optional.map { "-- \($0)" }.joined(separator: "\n"))
      """
  }

  /// Throws, with the names of the privileges, if the role lacks some.
  static func check(_ users: UserStatements, _ session: PostgresSession) throws(StoreOpenError) {
    let columns = users.mapping.columnsOfReset.map { "(\(quoted(literal: $0)), 'SELECT')" }
    let password = "(\(quoted(literal: users.mapping.columns[.password] ?? "password")), 'UPDATE')"
    let tables = ownTables.flatMap { table, privileges in privileges.map { "('password_reset.\(table)', '\($0)')" } }
    let addressTable = users.mapping.usesAllauth ? quoted(literal: users.sql.addressTable) : "NULL"
    let addresses = AddressTable.columns.map { "(\(quoted(literal: $0)))" }.joined(separator: ", ")
    let rows = try session.query(
      """
      SELECT privilege || ' (' || string_agg(name, ', ' ORDER BY name) || ') on ' || $2::text
      FROM (VALUES \((columns + [password]).joined(separator: ", "))) AS needed (name, privilege)
      WHERE to_regclass($1::text) IS NOT NULL AND NOT has_column_privilege($1::text, name, privilege) GROUP BY privilege
      UNION ALL
      SELECT string_agg(privilege, ', ' ORDER BY privilege) || ' on ' || name FROM (VALUES \(tables.joined(separator: ", "))) AS needed (name, privilege)
      WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(name, privilege) GROUP BY name
      UNION ALL
      SELECT 'SELECT (' || string_agg(name, ', ') || ') on \(AddressTable.name)' FROM (VALUES \(addresses)) AS needed (name)
      WHERE NOT has_column_privilege(\(addressTable)::text, name, 'SELECT') HAVING count(*) > 0
      """, users.table, users.mapping.table)
    let missing = rows.map { $0.text(0) ?? "" }
    guard missing.isEmpty else {
      throw .missingPrivilege("\(missing.joined(separator: "; ")). `password-reset grants` prints the statements")
    }
    try checkRowSecurity(users, session)
  }

  /// Throws if row-level security hides every user from the role.
  private static func checkRowSecurity(_ users: UserStatements, _ session: PostgresSession) throws(StoreOpenError) {
    let rows = try session.query(
      """
      SELECT command FROM (VALUES ('r', 'SELECT'), ('w', 'UPDATE')) AS needed (code, command)
      WHERE to_regclass($1::text) IS NOT NULL AND row_security_active($1::text) AND NOT EXISTS (
        SELECT FROM pg_policy, unnest(polroles) AS role
        WHERE polrelid = to_regclass($1::text) AND polpermissive AND polcmd::text IN ('*', code) AND (role = 0 OR pg_has_role(role, 'USAGE'))
      )
      """, users.table)
    let commands = rows.map { $0.text(0) ?? "" }
    guard commands.isEmpty else {
      throw .missingPrivilege(
        """
        the row-level security of \(users.mapping.table) has no policy for this role and \(commands.joined(separator: " and ")), so that it sees no \
        user; create policies, or use ALTER ROLE … BYPASSRLS
        """)
    }
  }

  /// Returns what the role can do on the users table without need.
  static func excess(_ users: UserStatements, _ session: PostgresSession) throws(StoreOpenError) -> [String] {
    let ofAfterReset = users.afterReset.afterReset.entries.flatMap(\.assignments).map(\.column)
    let writable = [users.mapping.columns[.password] ?? "password"] + users.mapping.activity.map(\.column) + ofAfterReset
    let others = Set(users.mapping.columns.values).subtracting(writable).sorted().map(quoted(literal:)).joined(separator: ", ")
    let rows = try session.query(
      """
      SELECT what FROM (VALUES
        (1, 'it is a superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)),
        (2, 'it owns the table ' || $2::text, pg_has_role((SELECT relowner FROM pg_class WHERE oid = to_regclass($1::text)), 'USAGE')),
        (3, 'it may delete users', has_table_privilege(to_regclass($1::text), 'DELETE, TRUNCATE')),
        (4, 'it may change more of a user than ' || $3::text,
          (SELECT bool_or(has_column_privilege(to_regclass($1::text), name, 'UPDATE')) FROM unnest(ARRAY[\(others)]) AS name))
      ) AS excess (number, what, is_true) WHERE is_true ORDER BY number
      """, users.table, users.mapping.table, writable.joined(separator: " and "))
    return rows.map { $0.text(0) ?? "" }
  }
}

extension UserTable {
  /// Returns the name of the table, with a suffix, as an identifier of SQL.
  fileprivate func identifier(suffix: String = "") -> String {
    var parts = name.split(separator: ".", maxSplits: 1).map(String.init)
    if let last = parts.popLast() { parts.append(last + suffix) }
    return parts.map(shown(identifier:)).joined(separator: ".")
  }

  /// The name of the table's schema with a dot, as SQL writes it; empty if the setting names none.
  fileprivate var schemaPrefix: String { name.firstIndex(of: ".").map { "\(shown(identifier: String(name[..<$0])))." } ?? "" }

  /// Returns the names of the columns that the settings give for a column.
  fileprivate func names(of column: UserColumn) -> [String] {
    switch columns[column] {
    case .named(let name): [name]
    case .absent: []
    case .values(let conditions): conditions.map(\.column)
    case nil: [column.rawValue]
    }
  }
}

extension UserMapping {
  /// The table's columns that a reset reads.
  var columnsOfReset: [String] {
    Set(UserColumn.ofReset.compactMap { columns[$0] } + activity.map(\.column)).sorted()
  }
}

/// Returns a name as an identifier of SQL.
func quoted(identifier name: String) -> String { "\"\(name.replacing("\"", with: "\"\""))\"" }

/// Returns a name as an identifier of SQL. Django's names are readable without quotation marks; others may be reserved words.
private func shown(identifier name: String) -> String {
  [UserTable.django.name, "auth_user_id_seq"].contains(name) || UserColumn(rawValue: name) != nil ? name : quoted(identifier: name)
}
