import Foundation
import PasswordReset

/// Opens the database that DATABASE_URL names, and brings its schema up to date.
/// - Parameter createIfMissing: whether a missing database file is created. If not, a missing one is an error.
func openStore(createIfMissing: Bool = true) throws -> any Store {
  let environment = ProcessInfo.processInfo.environment
  let location = try createIfMissing ? DatabaseSettings(environment: environment).location : existingDatabase()
  let store = try openDatabase(location)
  try store.migrate()
  return store
}

/// Returns where the database is that DATABASE_URL names. Throws ``CommandError`` if it is a file that does not exist.
func existingDatabase() throws -> DatabaseLocation {
  let location = try DatabaseSettings(environment: ProcessInfo.processInfo.environment).location
  guard let path = location.path, !FileManager.default.fileExists(atPath: path) else { return location }
  throw CommandError(
    message: "There is no database \(path). Check DATABASE_URL; a relative path starts at the current directory.",
    code: CommandError.configuration)
}
