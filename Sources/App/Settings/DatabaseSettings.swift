import Foundation

/// Where the database is.
struct DatabaseSettings: SettingsGroup, Sendable {
  let path: String

  init(from reader: inout SettingsReader) {
    path = reader.value(.databaseURL, Self.path(in:))
  }

  private static func path(in url: String) throws(SettingsReader.Invalid) -> String {
    let invalid = SettingsReader.Invalid(
      "must be sqlite:<path>, with one slash before an absolute path.", hint: "SQLite is the only supported database.")
    guard url.hasPrefix("sqlite:") else { throw invalid }
    let path = url.dropFirst("sqlite:".count)
    if path.isEmpty || path.hasSuffix(":memory:") || path.contains("?") || path.contains("#") { throw invalid }
    // Four slashes are an absolute path for every tool.
    if path.hasPrefix("////") { return String(path.dropFirst(3)) }
    guard path.hasPrefix("//") else { return String(path) }
    // Three slashes are a relative path for Django's libraries and SQLAlchemy.
    guard path.hasPrefix("///"), path.count > 3 else { throw invalid }
    let relative = String(path.dropFirst(3))
    // Other tools read an absolute path. If that is where the database is, the service would create an empty one, and no
    // user would get an email.
    if !FileManager.default.fileExists(atPath: relative), FileManager.default.fileExists(atPath: "/" + relative) {
      throw SettingsReader.Invalid(
        "has three slashes, which precede a relative path, but the file is at the absolute path.",
        hint: "Write one slash or four slashes before an absolute path.")
    }
    return relative
  }
}
