import GRDB

extension SQLiteStore {
  /// The columns of Django's `auth_user` that are read or written here.
  private static let userColumns = [
    "id", "password", "last_login", "is_superuser", "username", "first_name", "last_name", "email", "is_staff", "is_active", "date_joined",
  ]

  private static let emailIndex = "password_reset_auth_user_email"

  /// Brings the schema up to date; a database that is keeps as it is. Safe when several processes start together.
  public func migrate() throws(StoreOpenError) {
    do {
      // Each migration is a transaction, so of several processes one applies it and the others fail. What they find then is one migration further:
      // whoever fails has been overtaken, which can happen once for each.
      for _ in Self.migrator.migrations {
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
    // Whoever only reads must not wait for the lock that whoever writes has.
    let isUpToDate = try pool.read { db in
      try Self.checkSchema(db) && db.indexes(on: "auth_user").contains { $0.name == Self.emailIndex }
    }
    guard !isUpToDate else { return }
    try Self.migrator.migrate(pool)
    try pool.write { db in
      // Not a migration: when Django alters its table it makes it anew, without this index.
      try db.execute(sql: "CREATE INDEX IF NOT EXISTS \(Self.emailIndex) ON auth_user (email COLLATE NOCASE)")
    }
  }

  /// Throws if the file holds what this release must not touch: a newer schema, or a table of users that is not Django's.
  /// - Returns: whether the schema is up to date.
  @discardableResult static func checkSchema(_ db: Database) throws -> Bool {
    if try migrator.hasBeenSuperseded(db) { throw StoreOpenError.newerSchema }
    guard let type = try String.fetchOne(db, sql: "SELECT type FROM sqlite_master WHERE name = 'auth_user' COLLATE NOCASE") else {
      try checkThatNoSiteIsThere(db)
      return false
    }
    guard type == "table" else { throw StoreOpenError.unusableUserTable(reason: "it is a \(type) and no table") }
    let columns = try db.columns(in: "auth_user")
    let present = Set(columns.map(\.name))
    let missing = userColumns.filter { !present.contains($0) }
    guard missing.isEmpty else { throw StoreOpenError.foreignUserTable(missing: missing) }
    try checkKey(columns)
    try checkStatements(db)
    return try migrator.hasCompletedMigrations(db)
  }

  /// Throws if the tables are those of a site, whose users must be somewhere else: an empty `auth_user` would be of no use to anyone.
  private static func checkThatNoSiteIsThere(_ db: Database) throws {
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

  /// Throws unless `id` alone is the key, and a whole number as far as SQLite sees to it.
  private static func checkKey(_ columns: [ColumnInfo]) throws(StoreOpenError) {
    let key = columns.filter { $0.primaryKeyIndex > 0 }
    guard key.count == 1, key[0].name == "id" else { throw .unusableUserTable(reason: "its primary key is not the column id") }
    // SQLite's own rule for the affinity INTEGER.
    guard key[0].type.uppercased().contains("INT") else {
      throw .unusableUserTable(reason: "its key id is \(key[0].type.isEmpty ? "of no type" : key[0].type), and must be an integer")
    }
  }

  /// Throws if SQLite cannot compile what reads and changes users: a trigger may need a function that only the site's own connections have.
  private static func checkStatements(_ db: Database) throws {
    do {
      for query in [UserQuery.userByID, .usersByEmail, .usersByUsername] { _ = try db.makeStatement(sql: query.sql) }
      _ = try db.makeStatement(sql: setPasswordSQL)
    } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
      throw StoreOpenError.unusableUserTable(reason: error.message ?? "SQLite error \(error.extendedResultCode.rawValue)")
    }
  }

  /// Append only: what a released migration leaves behind never changes.
  ///
  /// A migration must not depend on the rest of the site's schema, or on its rows. `immediate`, as GRDB otherwise checks all foreign keys of the
  /// database afterwards, and refuses the migration for a row of the site's that refers to nothing. No table here has a foreign key.
  private static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1 auth_user", foreignKeyChecks: .immediate) { db in
      // As Django's own migrations leave it on SQLite.
      try db.execute(
        sql: """
          CREATE TABLE IF NOT EXISTS "auth_user" (
            "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
            "password" varchar(128) NOT NULL,
            "last_login" datetime NULL,
            "is_superuser" bool NOT NULL,
            "username" varchar(150) NOT NULL UNIQUE,
            "last_name" varchar(150) NOT NULL,
            "email" varchar(254) NOT NULL,
            "is_staff" bool NOT NULL,
            "is_active" bool NOT NULL,
            "date_joined" datetime NOT NULL,
            "first_name" varchar(150) NOT NULL
          )
          """)
    }
    migrator.registerMigration("2 outbox", foreignKeyChecks: .immediate) { db in
      try db.execute(
        sql: """
          CREATE TABLE password_reset_outbox (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL CHECK (kind IN ('request_email', 'request_username', 'reset_mail', 'changed_mail')),
            -- The address or user name that was typed, or the recipient of a 'changed_mail'.
            identifier TEXT CHECK (identifier <> ''),
            user_id INTEGER,
            locale TEXT,
            request_id TEXT NOT NULL,
            created_at INTEGER NOT NULL CHECK (abs(created_at) < 1 << 53),
            -- From when on it may be taken; a lease is a date in the future. Times are milliseconds since 1970.
            due_at INTEGER NOT NULL CHECK (abs(due_at) < 1 << 53),
            attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 1 << 31),
            last_error TEXT,
            buried_at INTEGER,
            CHECK ((kind = 'reset_mail') = (identifier IS NULL)),
            CHECK ((kind IN ('reset_mail', 'changed_mail')) = (user_id IS NOT NULL))
          ) STRICT;
          CREATE INDEX password_reset_outbox_due ON password_reset_outbox (due_at) WHERE buried_at IS NULL;
          -- One row for each mail that counts against the limit of its address.
          CREATE TABLE password_reset_mail_window (
            address_key TEXT NOT NULL,
            request_id TEXT NOT NULL,
            at INTEGER NOT NULL,
            PRIMARY KEY (address_key, request_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX password_reset_mail_window_at ON password_reset_mail_window (at);
          """)
    }
    migrator.registerMigration("3 audit", foreignKeyChecks: .immediate) { db in
      try db.execute(
        sql: """
          CREATE TABLE password_reset_audit (
            id INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            event TEXT NOT NULL,
            user_id INTEGER,
            identifier_key TEXT,
            request_id TEXT NOT NULL
          ) STRICT;
          CREATE INDEX password_reset_audit_at ON password_reset_audit (at);
          """)
    }
    migrator.registerMigration("4 outbox keys", foreignKeyChecks: .immediate) { db in
      try db.execute(
        sql: """
          CREATE TABLE password_reset_outbox_4 (
            -- AUTOINCREMENT: a key is never used again, so that a worker which comes back late cannot take another row for its own.
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL CHECK (kind IN ('request_email', 'request_username', 'reset_mail', 'changed_mail')),
            identifier TEXT CHECK (identifier <> ''),
            user_id INTEGER,
            locale TEXT,
            request_id TEXT NOT NULL,
            created_at INTEGER NOT NULL CHECK (abs(created_at) < 1 << 53),
            due_at INTEGER NOT NULL CHECK (abs(due_at) < 1 << 53),
            attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 1 << 31),
            last_error TEXT,
            buried_at INTEGER,
            -- When an operator had it tried again, from when on its time to live counts.
            retried_at INTEGER CHECK (abs(retried_at) < 1 << 53),
            CHECK ((kind = 'reset_mail') = (identifier IS NULL)),
            CHECK ((kind IN ('reset_mail', 'changed_mail')) = (user_id IS NOT NULL))
          ) STRICT;
          INSERT INTO password_reset_outbox_4
            (id, kind, identifier, user_id, locale, request_id, created_at, due_at, attempts, last_error, buried_at)
            SELECT id, kind, identifier, user_id, locale, request_id, created_at, due_at, attempts, last_error, buried_at FROM password_reset_outbox;
          DROP TABLE password_reset_outbox;
          -- Otherwise a RENAME parses each view and trigger of the database, and fails for one that refers to a table that is no more.
          PRAGMA legacy_alter_table = ON;
          ALTER TABLE password_reset_outbox_4 RENAME TO password_reset_outbox;
          PRAGMA legacy_alter_table = OFF;
          CREATE INDEX password_reset_outbox_due ON password_reset_outbox (due_at) WHERE buried_at IS NULL;
          CREATE INDEX password_reset_outbox_buried ON password_reset_outbox (buried_at) WHERE buried_at IS NOT NULL;
          """)
    }
    migrator.registerMigration("5 leases with an owner", foreignKeyChecks: .immediate) { db in
      try db.execute(
        sql: """
          PRAGMA legacy_alter_table = ON;
          CREATE TABLE password_reset_outbox_5 (
            -- AUTOINCREMENT: an id is never reused, so a worker that comes back late cannot take another job for its own.
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            -- No list of kinds: a job that a newer release added becomes a dead letter here.
            kind TEXT NOT NULL,
            -- The address or user name that was typed, or the recipient of a 'changed_notice'.
            identifier TEXT CHECK (identifier <> ''),
            user_id TEXT,
            locale TEXT,
            request_id TEXT NOT NULL,
            -- Times are milliseconds since 1970.
            created_at INTEGER NOT NULL CHECK (abs(created_at) < 1 << 53),
            -- When a worker may claim it; for a leased job, when its lease ends.
            due_at INTEGER NOT NULL CHECK (abs(due_at) < 1 << 53),
            -- The process that holds the lease.
            owner TEXT,
            attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 1 << 31),
            last_error TEXT,
            dead_lettered_at INTEGER,
            -- When an operator retried it, which is when its time to live began.
            retried_at INTEGER CHECK (abs(retried_at) < 1 << 53)
          ) STRICT;
          INSERT INTO password_reset_outbox_5
            (id, kind, identifier, user_id, locale, request_id, created_at, due_at, attempts, last_error, dead_lettered_at, retried_at)
            SELECT id, CASE kind WHEN 'reset_mail' THEN 'reset_email' WHEN 'changed_mail' THEN 'changed_notice' ELSE kind END,
              identifier, user_id, locale, request_id, created_at, due_at, attempts, last_error, buried_at, retried_at
            FROM password_reset_outbox;
          DROP TABLE password_reset_outbox;
          ALTER TABLE password_reset_outbox_5 RENAME TO password_reset_outbox;
          CREATE INDEX password_reset_outbox_due ON password_reset_outbox (due_at) WHERE dead_lettered_at IS NULL;
          CREATE INDEX password_reset_outbox_dead ON password_reset_outbox (dead_lettered_at) WHERE dead_lettered_at IS NOT NULL;

          -- One row for each email that counts against the limits.
          CREATE TABLE password_reset_mail_window_5 (
            address_key TEXT NOT NULL,
            request_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            at INTEGER NOT NULL,
            PRIMARY KEY (address_key, request_id, user_id)
          ) STRICT, WITHOUT ROWID;
          INSERT INTO password_reset_mail_window_5
            SELECT address_key, substr(request_id, 1, 32), substr(request_id, 34), at FROM password_reset_mail_window;
          DROP TABLE password_reset_mail_window;
          ALTER TABLE password_reset_mail_window_5 RENAME TO password_reset_mail_window;
          CREATE INDEX password_reset_mail_window_at ON password_reset_mail_window (at);

          CREATE TABLE password_reset_audit_5 (
            id INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            event TEXT NOT NULL,
            user_id TEXT,
            identifier_key TEXT,
            request_id TEXT NOT NULL
          ) STRICT;
          INSERT INTO password_reset_audit_5 SELECT id, at, event, user_id, identifier_key, request_id FROM password_reset_audit;
          DROP TABLE password_reset_audit;
          ALTER TABLE password_reset_audit_5 RENAME TO password_reset_audit;
          CREATE INDEX password_reset_audit_at ON password_reset_audit (at);
          PRAGMA legacy_alter_table = OFF;
          """)
    }
    return migrator
  }
}
