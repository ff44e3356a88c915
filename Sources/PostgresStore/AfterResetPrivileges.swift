import PasswordReset

/// What a role must be allowed to do on one table for `AFTER_RESET`.
struct TablePrivileges: Sendable {
  var table: String
  /// On the whole table.
  var privileges: [String] = []
  /// The columns to read, and those to write.
  var readColumns: [String] = []
  var writtenColumns: [String] = []
  var sequence: String?
  /// Whether the database may lack the table.
  var isOptional = false

  /// Returns the privileges as a GRANT lists them.
  fileprivate func list(_ name: (String) -> String) -> String {
    func columns(_ names: [String], _ privilege: String) -> [String] {
      names.isEmpty ? [] : ["\(privilege) (\(names.map(name).joined(separator: ", ")))"]
    }
    return (columns(readColumns, "SELECT") + columns(writtenColumns, "UPDATE") + privileges).joined(separator: ", ")
  }
}

extension AfterReset {
  /// The privileges on the tables of presets, each table once.
  var tablePrivileges: [TablePrivileges] {
    var all: [TablePrivileges] = []
    for statement in entries.flatMap(\.statements) {
      for table in statement.tables {
        let index = all.firstIndex { $0.table == table.name } ?? all.endIndex
        if index == all.endIndex { all.append(TablePrivileges(table: table.name, isOptional: statement.isOptional)) }
        all[index].privileges += table.privileges.filter { !all[index].privileges.contains($0) }
        all[index].readColumns += table.readColumns.filter { !all[index].readColumns.contains($0) }
        all[index].sequence = all[index].sequence ?? table.sequence
      }
    }
    return all
  }

  /// The privileges on the users table, or `nil` if no entry sets a column.
  func userPrivileges(_ table: String) -> TablePrivileges? {
    let assignments = entries.flatMap(\.assignments)
    guard !assignments.isEmpty else { return nil }
    func columns(_ assignments: [Assignment]) -> [String] { Set(assignments.map(\.column)).sorted() }
    return TablePrivileges(table: table, readColumns: columns(assignments.filter { $0.value == .increment }), writtenColumns: columns(assignments))
  }

  /// Returns the lines of SQL that give a role what the entries need, and comments about the rest.
  func grants(to role: String, table: String, schemaPrefix: String) -> [String] {
    guard !entries.isEmpty else { return [] }
    var lines = ["-- For AFTER_RESET:"]
    if let own = userPrivileges(table) { lines.append("GRANT \(own.list(quoted(identifier:))) ON \(table) TO \(role);") }
    for other in tablePrivileges {
      let grant = "GRANT \(other.list { $0 }) ON \(schemaPrefix)\(other.table) TO \(role);"
      // Older releases of the package have no such table.
      lines.append(other.isOptional ? "DO $$ BEGIN \(grant) EXCEPTION WHEN undefined_table THEN NULL; END $$;" : grant)
      if let sequence = other.sequence { lines.append("GRANT USAGE ON SEQUENCE \(schemaPrefix)\(sequence) TO \(role);") }
    }
    for (index, entry) in entries.enumerated() {
      guard case .sql = entry else { continue }
      lines.append("-- Entry \(index + 1) is your own statement: grant what it needs. `password-reset check` reports what is missing.")
    }
    return lines
  }
}

extension AfterResetStatements {
  /// Throws, with the names of the privileges, if the role lacks some for presets and columns.
  func checkPrivileges(_ users: UserSQL, _ session: PostgresSession) throws(StoreOpenError) {
    var needed: [String] = []
    func add(_ table: String, _ shown: String, _ privilege: String, columns: [String]?) {
      let list = [table, shown, privilege].map(quoted(literal:)).joined(separator: ", ")
      if let columns { needed += columns.map { "(\(list), \(quoted(literal: $0)))" } } else { needed.append("(\(list), NULL)") }
    }
    for (name, table) in tables {
      for privilege in table.privileges { add(name, table.name, privilege, columns: nil) }
      add(name, table.name, "SELECT", columns: table.readColumns)
    }
    if let own = afterReset.userPrivileges(users.table) {
      add(users.table, users.mapping.table, "SELECT", columns: own.readColumns)
      add(users.table, users.mapping.table, "UPDATE", columns: own.writtenColumns)
    }
    guard !needed.isEmpty else { return }
    let rows = try session.query(
      """
      SELECT privilege || coalesce(' (' || string_agg(DISTINCT name, ', ') || ')', '') || ' on ' || shown
      FROM (VALUES \(needed.joined(separator: ", "))) AS needed (table_name, shown, privilege, name)
      WHERE NOT CASE WHEN name IS NULL THEN has_table_privilege(table_name, privilege) ELSE has_column_privilege(table_name, name, privilege) END
      GROUP BY shown, privilege ORDER BY shown, privilege
      """)
    var missing = rows.map { $0.text(0) ?? "" }
    missing += try missingSequences(session)
    guard missing.isEmpty else {
      throw .missingPrivilege("\(missing.joined(separator: "; ")), for AFTER_RESET. `password-reset grants` prints the statements")
    }
  }

  /// Returns the privileges that are missing on sequences. An identity column needs none.
  private func missingSequences(_ session: PostgresSession) throws(StoreOpenError) -> [String] {
    var missing: [String] = []
    for (name, table) in tables where table.sequence != nil {
      let rows = try session.query(
        """
        SELECT 'USAGE on the sequence ' || pg_get_serial_sequence($1::text, 'id') FROM pg_attribute
        WHERE attrelid = $1::regclass AND attname = 'id' AND attidentity = ''
          AND NOT has_sequence_privilege(pg_get_serial_sequence($1::text, 'id'), 'USAGE')
        """, name)
      missing += rows.map { $0.text(0) }.compactMap(\.self)
    }
    return missing
  }
}
