/// A database file that is not open as a store: `check` inspects it, and `backup` copies it.
public struct SQLiteDatabase: Sendable {
  let path: String

  public init(path: String) { self.path = path }
}
