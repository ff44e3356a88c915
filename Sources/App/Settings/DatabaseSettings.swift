import Foundation
import PasswordReset

/// Where the database is.
struct DatabaseSettings: SettingsGroup, Sendable {
  let location: DatabaseLocation
  /// The site's users table.
  let users: UserTable

  /// The path of an SQLite database.
  var path: String? { location.path }

  init(from reader: inout SettingsReader) {
    var users = UserTable(from: &reader)
    let password = reader.optionalString(.databasePassword)
    let usesUTC = reader.boolean(.useTZ)
    let url = reader.value(.databaseURL, Self.checked)
    let needsZone = !usesUTC && (DatabaseLocation.isPostgreSQL(url) || !users.afterReset.entries.isEmpty)
    let zone = needsZone ? LinkSettings.timeZone(from: &reader) : .gmt
    users.afterReset.timeZone = zone
    self.users = users
    guard DatabaseLocation.isPostgreSQL(url) else {
      location = .sqlite(path: Self.path(in: url))
      return
    }
    // PostgreSQL stores moments. Without USE_TZ, Django prints them in the site's zone; in SQLite it stores them like that.
    location = .postgreSQL(url: url, password: password, loginZone: usesUTC ? "UTC" : zone.identifier)
  }

  /// Returns the URL if it names a database.
  private static func checked(_ url: String) throws(SettingsReader.Invalid) -> String {
    if DatabaseLocation.isPostgreSQL(url) {
      if let fault = fault(inPostgreSQLURL: url) {
        throw SettingsReader.Invalid(
          "is not a URL that PostgreSQL's library can read: \(fault).",
          hint: "Write postgresql://user@host/database, with %40 for an @ in the user's name, and the password in DATABASE_PASSWORD.")
      }
      return url
    }
    let invalid = SettingsReader.Invalid(
      "must be sqlite:<path>, with one slash before an absolute path, or postgresql://user@host/database.")
    guard url.hasPrefix("sqlite:") else { throw invalid }
    let path = url.dropFirst("sqlite:".count)
    if path.isEmpty || path.hasSuffix(":memory:") || path.contains("?") || path.contains("#") { throw invalid }
    guard path.hasPrefix("//"), !path.hasPrefix("////") else { return url }
    guard path.hasPrefix("///"), path.count > 3 else { throw invalid }
    let relative = String(path.dropFirst(3))
    // Other tools read an absolute path. If that is where the database is, the service would create an empty one, and no
    // user would get an email.
    if !FileManager.default.fileExists(atPath: relative), FileManager.default.fileExists(atPath: "/" + relative) {
      throw SettingsReader.Invalid(
        "has three slashes, which precede a relative path, but the file is at the absolute path.",
        hint: "Write one slash or four slashes before an absolute path.")
    }
    return url
  }

  /// Returns the path in a valid URL of SQLite.
  private static func path(in url: String) -> String {
    let path = url.dropFirst("sqlite:".count)
    // Four slashes are an absolute path for every tool, and three a relative one for Django's libraries and SQLAlchemy.
    return String(path.hasPrefix("///") ? path.dropFirst(3) : path)
  }
}
