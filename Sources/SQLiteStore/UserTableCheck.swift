import GRDB
import PasswordReset

/// Checks that the service can use the `auth_user` of a database.
enum UserTableCheck {
  /// Throws if there is an `auth_user` that is not Django's, or if the database belongs to a site and has none.
  /// - Returns: whether there is an `auth_user`.
  static func passes(_ db: Database) throws -> Bool {
    let sql = """
      SELECT CASE WHEN type = 'table' AND rootpage = 0 THEN 'virtual table' ELSE type END FROM sqlite_master
      WHERE name = 'auth_user' COLLATE NOCASE
      """
    guard let type = try String.fetchOne(db, sql: sql) else {
      try checkThatNoSiteOwnsDatabase(db)
      return false
    }
    guard type == "table" else {
      throw StoreOpenError.unusableUserTable(reason: "it is \(type == "index" ? "an" : "a") \(type), not an ordinary table")
    }
    let columns = try db.columns(in: "auth_user")
    let present = Set(columns.map(\.name))
    let missing = UserColumn.allCases.map(\.name).filter { !present.contains($0) }
    guard missing.isEmpty else { throw StoreOpenError.foreignUserTable(missing: missing) }
    try checkKey(columns)
    try checkStatements([UserQuery.userByID, .usersByEmail, .usersByUsername].map(\.sql) + [SQLiteStore.setPasswordSQL], db)
    return true
  }

  /// Throws if the tables are those of a site. Its users must then be in another table, and an empty `auth_user` would
  /// be useless.
  private static func checkThatNoSiteOwnsDatabase(_ db: Database) throws {
    let tables = try String.fetchAll(
      db, sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'password\\_reset\\_%' ESCAPE '\\'")
    let users = try tables.first { table in
      let names = Set(try db.columns(in: table).map { $0.name.lowercased() })
      return names.isSuperset(of: ["password", "last_login"])
    }
    if let users { throw StoreOpenError.missingUserTable(found: users, hasUsers: true) }
    if let table = ["django_migrations", "django_content_type"].first(where: tables.contains) {
      throw StoreOpenError.missingUserTable(found: table, hasUsers: false)
    }
  }

  /// Throws unless `id` alone is the primary key and has the affinity INTEGER.
  private static func checkKey(_ columns: [ColumnInfo]) throws(StoreOpenError) {
    let key = columns.filter { $0.primaryKeyIndex > 0 }
    guard key.count == 1, key[0].name == "id" else { throw .unusableUserTable(reason: "its primary key is not the column id") }
    // This is SQLite's own rule for the affinity INTEGER.
    guard key[0].type.uppercased().contains("INT") else {
      throw .unusableUserTable(reason: "its key id has \(key[0].type.isEmpty ? "no type" : "the type \(key[0].type)"), and must be an integer")
    }
  }

  /// Throws if SQLite cannot compile a statement that the service needs. A trigger may need a function that only the
  /// site's own connections have.
  private static func checkStatements(_ statements: [String], _ db: Database) throws {
    do {
      for sql in statements { try MissingFunction.named(in: db) { _ = try db.makeStatement(sql: sql) } }
    } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
      throw StoreOpenError.unusableUserTable(reason: error.message ?? "SQLite error \(error.extendedResultCode.rawValue)")
    } catch let error as MissingFunction {
      throw StoreOpenError.unusableUserTable(reason: "\(error)")
    }
  }
}
