import PasswordReset
import PostgresStore
import SQLiteStore

// The only file that knows which databases there are.

/// Opens the database as a store.
///
/// - Parameter onStatement: receives every SQL statement before it runs, without its values.
/// - Parameter onReplaced: receives the reason, once, when the store finds that the database was removed or replaced.
func openDatabase(
  _ database: DatabaseSettings, onStatement: (@Sendable (String) -> Void)? = nil, onReplaced: (@Sendable (String) -> Void)? = nil
) throws(StoreOpenError) -> any Store {
  switch database.location {
  case .sqlite(let path): try SQLiteStore(path: path, users: database.users, onStatement: onStatement, onReplaced: onReplaced)
  case .postgreSQL(let url, let password, let loginZone):
    try PostgresStore(
      PostgresAddress(url: url, password: password), users: database.users, loginZone: loginZone, onStatement: onStatement)
  }
}

/// Returns the database, to inspect it without opening it as a store.
func unopenedDatabase(_ database: DatabaseSettings) -> any DatabaseInspector {
  switch database.location {
  case .sqlite(let path): SQLiteDatabase(path: path, users: database.users)
  case .postgreSQL(let url, let password, let loginZone):
    PostgresDatabase(PostgresAddress(url: url, password: password), users: database.users, loginZone: loginZone)
  }
}

/// Returns the database, to copy it to a file, or `nil` if it is on a server, which has its own tools for that.
func databaseToBackUp(_ database: DatabaseSettings) -> (any DatabaseBackup)? {
  database.path.map { SQLiteDatabase(path: $0, users: database.users) }
}

/// Returns why a URL cannot be used, without its values, or `nil` if it can.
func fault(inPostgreSQLURL url: String) -> String? { PostgresAddress(url: url).fault }

/// Returns the statements of SQL that give a role of PostgreSQL the privileges that the service needs.
func privileges(ofPostgreSQLRole role: String, users: UserTable) -> String { Privileges.statements(role: role, users: users) }
