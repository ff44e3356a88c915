import PasswordReset

/// The privileges that the service's role needs, and no more.
public enum Privileges {
  /// The columns of the users table that a reset reads.
  static let userColumns = UserStatements.columns.prefix(8)

  /// The privileges on each of our tables.
  static let ownTables: [(table: String, privileges: [String])] = [
    ("migrations", ["SELECT"]), ("outbox", ["SELECT", "INSERT", "UPDATE", "DELETE"]), ("mail_window", ["SELECT", "INSERT", "DELETE"]),
    ("audit", ["SELECT", "INSERT", "DELETE"]), ("client_limit", ["SELECT", "INSERT", "UPDATE", "DELETE"]),
  ]

  /// Returns the statements that give the privileges to a role. The owner of the tables runs them.
  public static func statements(role: String) -> String {
    let role = quoted(identifier: role)
    let tables = ownTables.map { "GRANT \($0.privileges.joined(separator: ", ")) ON password_reset.\($0.table) TO \(role);" }
    let others = UserStatements.columns.dropFirst(userColumns.count).joined(separator: ", ")
    return """
      -- Run this as the owner of the tables, after `password-reset migrate` as that owner.
      -- The role must exist: CREATE ROLE \(role) LOGIN PASSWORD '…';
      GRANT USAGE ON SCHEMA password_reset TO \(role);
      \(tables.joined(separator: "\n"))
      GRANT SELECT (\(userColumns.joined(separator: ", "))), UPDATE (password) ON auth_user TO \(role);
      -- For `users list`, `users show` and `users export`:
      -- GRANT SELECT (\(others)) ON auth_user TO \(role);
      -- For `users activate` and `users deactivate`:
      -- GRANT UPDATE (is_active) ON auth_user TO \(role);
      -- For `users add` and `users import`:
      -- GRANT INSERT ON auth_user TO \(role);
      -- GRANT SELECT, UPDATE ON SEQUENCE auth_user_id_seq TO \(role);
      """
  }

  /// Throws, with the names of the privileges, if the role lacks some.
  static func check(_ session: PostgresSession) throws(StoreOpenError) {
    let columns = userColumns.map { "(\(quoted(literal: $0)), 'SELECT')" } + ["('password', 'UPDATE')"]
    let tables = ownTables.flatMap { table, privileges in privileges.map { "('password_reset.\(table)', '\($0)')" } }
    let rows = try session.query(
      """
      SELECT privilege || ' (' || string_agg(name, ', ') || ') on auth_user' FROM (VALUES \(columns.joined(separator: ", "))) AS needed (name, privilege)
      WHERE to_regclass('auth_user') IS NOT NULL AND NOT has_column_privilege('auth_user', name, privilege) GROUP BY privilege
      UNION ALL
      SELECT string_agg(privilege, ', ') || ' on ' || name FROM (VALUES \(tables.joined(separator: ", "))) AS needed (name, privilege)
      WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(name, privilege) GROUP BY name
      """)
    let missing = rows.map { $0.text(0) ?? "" }
    guard missing.isEmpty else {
      throw .missingPrivilege("\(missing.joined(separator: "; ")). `password-reset grants` prints the statements")
    }
  }

  /// Returns what the role can do on the users table without need.
  static func excess(_ session: PostgresSession) throws(StoreOpenError) -> [String] {
    let columns = UserStatements.columns.filter { $0 != "password" && $0 != "is_active" }.map(quoted(literal:)).joined(separator: ", ")
    let rows = try session.query(
      """
      SELECT what FROM (VALUES
        (1, 'it is a superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)),
        (2, 'it owns the table auth_user', pg_has_role((SELECT relowner FROM pg_class WHERE oid = to_regclass('auth_user')), 'USAGE')),
        (3, 'it may delete users', has_table_privilege(to_regclass('auth_user'), 'DELETE, TRUNCATE')),
        (4, 'it may change more of a user than password and is_active',
          (SELECT bool_or(has_column_privilege(to_regclass('auth_user'), name, 'UPDATE')) FROM unnest(ARRAY[\(columns)]) AS name))
      ) AS excess (number, what, is_true) WHERE is_true ORDER BY number
      """)
    return rows.map { $0.text(0) ?? "" }
  }
}

/// Returns a name as an identifier of SQL.
func quoted(identifier name: String) -> String { "\"\(name.replacing("\"", with: "\"\""))\"" }
