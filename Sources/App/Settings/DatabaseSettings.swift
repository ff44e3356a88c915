/// Where the database is.
struct DatabaseSettings: SettingsGroup, Sendable {
  let path: String

  init(from reader: inout SettingsReader) {
    path = reader.value(
      .databaseURL, message: "must be sqlite:<path>, with one slash before an absolute path.", hint: "SQLite is the only supported database.",
      Self.path(in:))
  }

  private static func path(in url: String) -> String? {
    guard url.hasPrefix("sqlite:") else { return nil }
    let path = url.dropFirst("sqlite:".count)
    // Four slashes are an absolute path for every tool.
    if path.hasPrefix("////") { return String(path.dropFirst(3)) }
    // Tools disagree on whether sqlite:///db means /db or ./db. After a wrong guess the service would create an empty
    // database, and no user would get an email.
    return path.isEmpty || path == ":memory:" || path.hasPrefix("//") || path.contains("?") ? nil : String(path)
  }
}
