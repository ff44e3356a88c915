/// Django's unusable passwords, which start with `!` and match no password.
public enum UnusablePassword {
  /// Django's `UNUSABLE_PASSWORD_PREFIX`.
  public static let prefix = "!"

  /// Returns a new unusable password: the prefix and 40 random characters, so that replacing it invalidates the user's
  /// tokens.
  public static func make() -> String { prefix + randomAlphanumerics(40) }

  /// Returns whether `encoded` is unusable, like Django's `not is_password_usable(encoded)`. Only the prefix matters.
  public static func matches(_ encoded: String) -> Bool { encoded.utf8.starts(with: prefix.utf8) }
}
