import GRDB

/// The steps that create our tables. They are append-only: a released migration always leaves the same schema behind.
enum Migrations {
  /// This is the schema that Django's own migrations leave on SQLite.
  static let createUserTable = """
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
    """

  /// A migration must not depend on the rest of the site's schema or on its rows. With the default instead of
  /// `immediate`, GRDB would check all foreign keys of the database afterwards, and reject the migration because of a
  /// broken reference in the site's tables. Our tables have no foreign keys.
  static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    // It created `auth_user`, which `createUserTable` does now, because the users may be in another table.
    migrator.registerMigration("1 auth_user", foreignKeyChecks: .immediate) { _ in }
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
            -- When a worker may claim it; a lease is a date in the future. Times are milliseconds since 1970.
            due_at INTEGER NOT NULL CHECK (abs(due_at) < 1 << 53),
            attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 1 << 31),
            last_error TEXT,
            buried_at INTEGER,
            CHECK ((kind = 'reset_mail') = (identifier IS NULL)),
            CHECK ((kind IN ('reset_mail', 'changed_mail')) = (user_id IS NOT NULL))
          ) STRICT;
          CREATE INDEX password_reset_outbox_due ON password_reset_outbox (due_at) WHERE buried_at IS NULL;
          -- One row for each email that counts against the limit of its address.
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
            -- AUTOINCREMENT: an id is never reused, so a late worker cannot mistake another row for its own.
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
            -- When an operator retried it, which is when its time to live began.
            retried_at INTEGER CHECK (abs(retried_at) < 1 << 53),
            CHECK ((kind = 'reset_mail') = (identifier IS NULL)),
            CHECK ((kind IN ('reset_mail', 'changed_mail')) = (user_id IS NOT NULL))
          ) STRICT;
          INSERT INTO password_reset_outbox_4
            (id, kind, identifier, user_id, locale, request_id, created_at, due_at, attempts, last_error, buried_at)
            SELECT id, kind, identifier, user_id, locale, request_id, created_at, due_at, attempts, last_error, buried_at FROM password_reset_outbox;
          DROP TABLE password_reset_outbox;
          -- Without this, RENAME parses every view and trigger of the database, and fails if one refers to a missing table.
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
            -- AUTOINCREMENT: an id is never reused, so a late worker cannot mistake another job for its own.
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
    migrator.registerMigration("6 cancellation, password history and audit details", foreignKeyChecks: .immediate) { db in
      try db.execute(
        sql: """
          -- An index for each channel, so that the claims of one do not read a backlog of the other.
          DROP INDEX password_reset_outbox_due;
          CREATE INDEX password_reset_outbox_due ON password_reset_outbox (due_at)
            WHERE dead_lettered_at IS NULL AND kind <> 'webhook';
          CREATE INDEX password_reset_outbox_webhooks_due ON password_reset_outbox (due_at)
            WHERE dead_lettered_at IS NULL AND kind = 'webhook';
          ALTER TABLE password_reset_audit ADD COLUMN client_key TEXT;
          -- A JSON object.
          ALTER TABLE password_reset_audit ADD COLUMN detail TEXT;
          -- Links of the user that were made at this time or before are dead.
          CREATE TABLE password_reset_cancellation (
            user_id TEXT NOT NULL PRIMARY KEY,
            at INTEGER NOT NULL CHECK (abs(at) < 1 << 53)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX password_reset_cancellation_at ON password_reset_cancellation (at);
          -- Hashes of former passwords, and when they were replaced.
          CREATE TABLE password_reset_password_history (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            user_id TEXT NOT NULL,
            password TEXT NOT NULL,
            at INTEGER NOT NULL CHECK (abs(at) < 1 << 53)
          ) STRICT;
          CREATE INDEX password_reset_password_history_user ON password_reset_password_history (user_id, id);
          """)
    }
    return migrator
  }
}
