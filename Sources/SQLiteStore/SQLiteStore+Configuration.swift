import Foundation
import GRDB
import PasswordReset

/// How each connection is configured, and how the store checks that.
extension SQLiteStore {
  /// The settings that the store reads back from every kind of connection. WAL lets readers and the writer work at the
  /// same time; `synchronous=FULL` syncs the log on each commit, without which a power failure could lose an accepted
  /// request.
  private static let pragmas: KeyValuePairs = ["journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "trusted_schema": "1"]

  /// Lets the schema of a Django site use all that it can use on Django's own connections. With OFF, SQLite 3.40 cannot
  /// load a schema in which a CHECK calls JSON_VALID, as that of each JSONField does, and runs no trigger that fills an
  /// FTS5 table (docs/decisions/0019-trust-the-schema.md).
  static let trustsSchema = "PRAGMA trusted_schema = ON"

  /// Prepares a connection that reads the schema or the users.
  static func prepare(_ db: Database) throws {
    db.add(function: loginTime)
    try db.execute(sql: trustsSchema)
  }

  /// How many milliseconds a connection waits for a lock.
  static let busyTimeout = 5000

  static func configuration(busyTimeout: Int = busyTimeout, onStatement: (@Sendable (String) -> Void)?) -> Configuration {
    var configuration = Configuration()
    configuration.label = "password-reset"
    // GRDB's default asks for a priority that only root gets, and each refusal is a line on standard error.
    configuration.qos = .default
    configuration.foreignKeysEnabled = true
    configuration.busyMode = busyTimeout == 0 ? .immediateError : .timeout(TimeInterval(busyTimeout) / 1000)
    configuration.prepareDatabase { db in
      // GRDB sets a timeout for its readers, which the last statement overrides.
      try prepare(db)
      try db.execute(sql: "PRAGMA synchronous = FULL; PRAGMA busy_timeout = \(busyTimeout)")
      if let onStatement {
        db.trace { event in
          if case .statement(let statement) = event { onStatement(statement.sql) }
        }
      }
    }
    return configuration
  }

  static func checkPragmas(_ db: Database, busyTimeout: Int = busyTimeout) throws {
    for (name, expected) in Array(pragmas) + [("busy_timeout", "\(busyTimeout)")] {
      let value = try String.fetchOne(db, sql: "PRAGMA \(name)")
      guard value == expected else { throw StoreOpenError.unsafeSetting("\(name)=\(expected)") }
    }
  }

  /// Creates the file with mode 0600 if there is none; SQLite gives its log files the mode of the database.
  static func createOwnerOnly(_ path: String) throws {
    let descriptor = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o600)
    if descriptor >= 0 {
      close(descriptor)
    } else if errno != EEXIST {
      throw StoreOpenError.cannotOpen(path: path, reason: String(cString: strerror(errno)))
    }
  }
}
