/// Makes and verifies one of Django's password encodings (`django.contrib.auth.hashers`).
public protocol PasswordHasher: Sendable {
  /// The encoding's first field, as in Django: `pbkdf2_sha256`.
  static var algorithm: String { get }

  /// The encoding of `password` under a new random salt. Slow by design: never call it on an event loop.
  func encode(_ password: String) throws -> String

  /// Whether `password` is the one that `encoded` was made from. Slow; false for an encoding that is damaged or of another algorithm.
  func verify(_ password: String, encoded: String) -> Bool
}

/// Django's unusable passwords: they start with `!` and no password matches them.
public enum UnusablePassword {
  /// Django's `UNUSABLE_PASSWORD_PREFIX`.
  public static let prefix = "!"

  /// A new one: the prefix and 40 random characters, so that its tokens die when it is replaced.
  public static func make() -> String { prefix + randomAlphanumerics(40) }

  /// Django's `not is_password_usable(encoded)`: only the prefix counts.
  public static func matches(_ encoded: String) -> Bool { encoded.utf8.starts(with: prefix.utf8) }
}

/// `count` characters of `A-Z a-z 0-9` from the system's cryptographic generator; 22 of them hold 131 bits, Django's salt.
func randomAlphanumerics(_ count: Int) -> String {
  let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
  return String((0..<count).map { _ in alphabet[Int.random(in: alphabet.indices)] })
}
