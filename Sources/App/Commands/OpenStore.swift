import Foundation
import PasswordReset

/// Opens the database that DATABASE_URL names, and brings its schema up to date.
/// - Parameter createIfMissing: whether a missing database is created. If not, a missing one is an error.
func openStore(createIfMissing: Bool = true) throws -> any Store {
  let environment = ProcessInfo.processInfo.environment
  let path = try createIfMissing ? DatabaseSettings(environment: environment).path : existingDatabasePath()
  let store = try openDatabase(path: path)
  try store.migrate()
  return store
}

/// Returns the path of the database that DATABASE_URL names. Throws ``CommandError`` if there is no such file.
func existingDatabasePath() throws -> String {
  let path = try DatabaseSettings(environment: ProcessInfo.processInfo.environment).path
  guard FileManager.default.fileExists(atPath: path) else {
    throw CommandError(
      message: "There is no database \(path). Check DATABASE_URL; a relative path starts at the current directory.",
      code: CommandError.configuration)
  }
  return path
}
