import GRDB
public import PasswordReset

extension SQLiteStore: StoreSchema {
  private static let emailIndex = "password_reset_auth_user_email"

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
    let isUpToDate = try pool.read { db in
      try Self.checkSchema(db) && db.indexes(on: "auth_user").contains { $0.name == Self.emailIndex }
    }
    guard !isUpToDate else { return }
    try Migrations.migrator.migrate(pool)
    try pool.write { db in
      // This is not a migration, because Django drops the index when it rebuilds its table.
      try db.execute(sql: "CREATE INDEX IF NOT EXISTS \(Self.emailIndex) ON auth_user (email COLLATE NOCASE)")
    }
  }

  /// Throws if the file contains something that this release must not touch: a newer schema, or a users table that is
  /// not Django's.
  /// - Returns: whether the schema is up to date.
  @discardableResult static func checkSchema(_ db: Database) throws -> Bool {
    if try Migrations.migrator.hasBeenSuperseded(db) { throw StoreOpenError.newerSchema }
    return try UserTableCheck.passes(db) && Migrations.migrator.hasCompletedMigrations(db)
  }
}
