import GRDB
import PasswordReset

/// Checks that the service can use the users table of a database.
enum UserTableCheck {
  /// Returns how the users table holds the users, or `nil` if a migration is to create it.
  ///
  /// Throws if the table cannot be used, or if there is none and the database belongs to a site.
  static func mapping(of table: UserTable, _ db: Database) throws -> UserMapping? {
    let sql = """
      SELECT CASE WHEN type = 'table' AND rootpage = 0 THEN 'virtual table' ELSE type END FROM sqlite_master
      WHERE name = ? COLLATE NOCASE ORDER BY type = 'table' DESC
      """
    guard let type = try String.fetchOne(db, sql: sql, arguments: [table.name]) else {
      try checkThatTableMayBeCreated(table, db)
      return nil
    }
    guard type == "table" else {
      throw StoreOpenError.unusableUserTable(table.name, faults: ["it is \(type == "index" ? "an" : "a") \(type), not an ordinary table"])
    }
    let columns = try columns(of: table.name, db)
    let mapping = try UserMapping(table, found: columns, unique: try uniqueColumns(of: table.name, db))
    if table.usesAllauth { try AddressTable.check(self.columns(of: AddressTable.name, db), users: mapping) }
    let statements = UserStatements(mapping, hasOwnTables: false)
    let ofAllauth = table.usesAllauth ? [statements.usersByVerifiedAddress, UserStatements.addresses] : []
    try check([statements.userByID, statements.usersByEmail, statements.usersByUsername, statements.setPassword] + ofAllauth, table.name, db)
    _ = try AfterResetStatements(statements, table.afterReset, db)
    return mapping
  }

  /// Throws unless the table is Django's own and no site owns the database. The users of a site must be in another table,
  /// and an empty `auth_user` would be useless.
  private static func checkThatTableMayBeCreated(_ table: UserTable, _ db: Database) throws {
    let tables = try String.fetchAll(
      db, sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'password\\_reset\\_%' ESCAPE '\\'")
    let candidates = try tables.filter { name in
      UserTable.hasLikelyColumns(try String.fetchAll(db, sql: "SELECT name FROM pragma_table_xinfo(?)", arguments: [name]))
    }
    let djangoTable = ["django_migrations", "django_content_type"].first(where: tables.contains)
    if !table.mayBeCreated || !candidates.isEmpty || djangoTable != nil {
      throw StoreOpenError.missingUserTable(table.name, candidates: candidates, djangoTable: djangoTable)
    }
  }

  static func columns(of table: String, _ db: Database) throws -> [TableColumn] {
    let rows = try Row.fetchAll(db, sql: "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?)", arguments: [table])
    let keyLength = rows.count { ($0["pk"] as Int? ?? 0) > 0 }
    return rows.map { row in
      let type: String = row["type"] ?? ""
      let affinity = Affinity(type)
      let hidden: Int = row["hidden"] ?? 0
      let isRowID = keyLength == 1 && row["pk"] == 1 && type.uppercased() == "INTEGER"
      return TableColumn(
        name: row["name"] ?? "", type: type, kinds: affinity.kinds(type), key: affinity.key(type), isGenerated: hidden > 1,
        needsValue: row["notnull"] == 1 && row["dflt_value"] == nil && hidden == 0 && !isRowID)
    }
  }

  /// Returns the columns that alone are the primary key, or unique and never NULL.
  private static func uniqueColumns(of table: String, _ db: Database) throws -> Set<String> {
    let sql = """
      SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 AND (SELECT max(pk) FROM pragma_table_xinfo(?1)) = 1
      UNION
      SELECT min(part.name) FROM pragma_index_list(?1) AS list, pragma_index_info(list.name) AS part, pragma_table_xinfo(?1) AS field
      WHERE list."unique" AND NOT list.partial AND field.name = part.name AND field."notnull"
      GROUP BY list.name HAVING count(*) = 1 AND (SELECT count(*) FROM pragma_index_info(list.name)) = 1
      """
    return try Set(String.fetchAll(db, sql: sql, arguments: [table]))
  }

  /// Throws if SQLite cannot compile a statement that the service needs. A trigger may need a function that only the
  /// site's own connections have.
  private static func check(_ statements: [String], _ table: String, _ db: Database) throws {
    do {
      for sql in statements { try MissingFunction.named(in: db, table: table) { _ = try db.makeStatement(sql: sql) } }
    } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
      throw StoreOpenError.unusableUserTable(table, faults: [error.message ?? "SQLite error \(error.extendedResultCode.rawValue)"])
    } catch let error as MissingFunction {
      throw StoreOpenError.unusableUserTable(table, faults: ["\(error)"])
    }
  }
}

/// SQLite's rules for what a column makes of values (https://www.sqlite.org/datatype3.html, section 3.1).
private enum Affinity {
  case integer, text, blob, real, numeric

  init(_ type: String) {
    let type = type.uppercased()
    self =
      if type.contains("INT") {
        .integer
      } else if ["CHAR", "CLOB", "TEXT"].contains(where: type.contains) {
        .text
      } else if type.isEmpty || type.contains("BLOB") {
        .blob
      } else {
        ["REAL", "FLOA", "DOUB"].contains(where: type.contains) ? .real : .numeric
      }
  }

  func kinds(_ type: String) -> Set<TableColumn.Kind> {
    switch self {
    case .integer: [.boolean]
    case .text: [.text, .time]
    case .numeric: ["DATE", "TIME"].contains(where: type.uppercased().contains) ? [.time] : [.boolean]
    case .blob, .real: []
    }
  }

  func key(_ type: String) -> UserKey? {
    switch self {
    case .integer: .integer
    // Django's type of a UUIDField.
    case .text: type.lowercased().filter { !$0.isWhitespace } == "char(32)" ? .uuidDigits : .text
    case .blob, .real, .numeric: nil
    }
  }
}
