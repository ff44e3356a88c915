import GRDB
public import PasswordReset

extension SQLiteStore: StoreSchema {
  public func migrate() throws(StoreOpenError) {
    do {
      // Each migration is a transaction. If several processes start at the same time, one of them applies it and the
      // others fail; they then find the schema one migration further. So a process can fail at most once per migration.
      for _ in Migrations.migrator.migrations {
        do {
          return try migrateOnce()
        } catch let error as DatabaseError where [.SQLITE_ERROR, .SQLITE_CONSTRAINT].contains(error.resultCode) { continue }
      }
      try migrateOnce()
    } catch {
      throw StoreOpenError(error, pool.path)
    }
  }

  private func migrateOnce() throws {
    // Check first with a reader: a command that only reads must not wait for the writer's lock.
    let (hasUsers, isUpToDate) = try pool.read { db in
      let (mapping, isUpToDate) = try Self.checkSchema(db, userTable)
      return (mapping != nil, try isUpToDate && hasEmailIndex(db))
    }
    guard !isUpToDate else { return }
    if !hasUsers { try pool.write { db in try db.execute(sql: Migrations.createUserTable) } }
    try Migrations.migrator.migrate(pool)
    // This is not a migration, because Django drops the index when it rebuilds its table.
    try pool.write { db in try db.execute(sql: users.createEmailIndex) }
  }

  private func hasEmailIndex(_ db: Database) throws -> Bool {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ? AND tbl_name = ? COLLATE NOCASE)"
    return try Bool.fetchOne(db, sql: sql, arguments: [users.emailIndex, users.mapping.table]) ?? false
  }

  /// Throws if the file contains something that this release must not touch: a newer schema, or a users table that it cannot
  /// use.
  /// - Returns: how the users table holds the users, or `nil` if there is none yet, and whether the schema is up to date.
  static func checkSchema(_ db: Database, _ table: UserTable) throws -> (users: UserMapping?, isUpToDate: Bool) {
    if try Migrations.migrator.hasBeenSuperseded(db) { throw StoreOpenError.newerSchema }
    let mapping = try UserTableCheck.mapping(of: table, db)
    return (mapping, try mapping != nil && Migrations.migrator.hasCompletedMigrations(db))
  }
}
