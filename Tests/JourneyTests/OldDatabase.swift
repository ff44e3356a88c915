/// A database on SQLite as an early release left it, with two jobs.
enum OldDatabase {
  static let statements = """
    CREATE TABLE grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY);
    INSERT INTO grdb_migrations VALUES ('2 outbox'), ('3 audit');
    CREATE TABLE password_reset_outbox (
      id INTEGER PRIMARY KEY, kind TEXT NOT NULL, identifier TEXT, user_id INTEGER, locale TEXT, request_id TEXT NOT NULL,
      created_at INTEGER NOT NULL, due_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT, buried_at INTEGER
    ) STRICT;
    CREATE INDEX password_reset_outbox_due ON password_reset_outbox (due_at) WHERE buried_at IS NULL;
    CREATE TABLE password_reset_mail_window (
      address_key TEXT NOT NULL, request_id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (address_key, request_id)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO password_reset_mail_window VALUES ('k', '0123456789abcdef0123456789abcdef.1', 5);
    CREATE TABLE password_reset_audit (
      id INTEGER PRIMARY KEY, at INTEGER NOT NULL, event TEXT NOT NULL, user_id INTEGER, identifier_key TEXT, request_id TEXT NOT NULL
    ) STRICT;
    INSERT INTO password_reset_outbox VALUES (7, 'request_email', 'a@example.com', NULL, 'de', 'r7', 1, 2, 3, '451', NULL);
    INSERT INTO password_reset_outbox VALUES (8, 'changed_mail', 'a@example.com', 1, NULL, 'r8', 1, 2, 3, '550', 9);
    """
}
