/// Where a database is.
enum DatabaseLocation: Sendable, Equatable, CustomStringConvertible {
  case sqlite(path: String)
  /// A URL as libpq reads it, a password that overrides the one in the URL, and the time zone of the texts that Django makes
  /// of `last_login` in tokens.
  case postgreSQL(url: String, password: String?, loginZone: String)

  /// The path of an SQLite database.
  var path: String? {
    if case .sqlite(let path) = self { path } else { nil }
  }

  /// The location without passwords.
  var description: String {
    switch self {
    case .sqlite(let path): "sqlite:\(path)"
    case .postgreSQL(let url, _, _): Self.shown(url: url)
    }
  }

  /// Returns a URL without the passwords in it.
  static func shown(url: String) -> String {
    guard isPostgreSQL(url) else { return url }
    // libpq ends the password at the first @. A password with an @ that is not encoded is hidden as well.
    return url.replacing(#/^([a-z]+://[^:@/]*):[^/]*@/#) { "\($0.1):********@" }
      .replacing(#/([?&](?:ssl)?password=)[^&]*/#) { "\($0.1)********" }
  }

  static func isPostgreSQL(_ url: String) -> Bool { url.hasPrefix("postgresql://") || url.hasPrefix("postgres://") }
}
