import PasswordReset
import SQLiteStore

// The only file that knows which databases there are.

/// Opens the database at this path as a store.
///
/// - Parameter onStatement: receives every SQL statement before it runs, without its values.
/// - Parameter onReplaced: receives the reason, once, when the store finds that the database was removed or replaced.
func openDatabase(
  path: String, onStatement: (@Sendable (String) -> Void)? = nil, onReplaced: (@Sendable (String) -> Void)? = nil
) throws(StoreOpenError) -> any Store {
  try SQLiteStore(path: path, onStatement: onStatement, onReplaced: onReplaced)
}

/// Returns the database at this path, to inspect it or back it up without opening it as a store.
func unopenedDatabase(path: String) -> any DatabaseBackup & DatabaseInspector { SQLiteDatabase(path: path) }
