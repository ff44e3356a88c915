public import PasswordReset

/// A database file that is not open as a store: `check` inspects it, and `backup` copies it.
public struct SQLiteDatabase: Sendable {
  let path: String
  let users: UserTable

  public init(path: String, users: UserTable = .django) {
    self.path = path
    self.users = users
  }
}
