import Foundation
import PasswordReset

/// Opens the database that DATABASE_URL names, and brings its schema up to date.
/// - Parameter createIfMissing: whether a missing database file is created. If not, a missing one is an error.
func openStore(createIfMissing: Bool = true) throws -> any Store {
  let environment = ProcessInfo.processInfo.environment
  let store = try openDatabase(try createIfMissing ? DatabaseSettings(environment: environment) : existingDatabase())
  try store.migrate()
  return store
}

/// Returns the settings of the database that DATABASE_URL names. Throws ``CommandError`` if it is a file that does not exist.
func existingDatabase() throws -> DatabaseSettings {
  let database = try DatabaseSettings(environment: ProcessInfo.processInfo.environment)
  guard let path = database.path, !FileManager.default.fileExists(atPath: path) else { return database }
  throw CommandError(
    message: "There is no database \(path). Check DATABASE_URL; a relative path starts at the current directory.",
    code: CommandError.configuration)
}
