/// Makes and verifies one of Django's password encodings (`django.contrib.auth.hashers`).
public protocol PasswordHasher: Sendable {
  /// The encoding's first field, as in Django: `pbkdf2_sha256`.
  var algorithm: String { get }

  /// How many bytes of a password in UTF-8 the algorithm takes; nil if any number.
  var maximumPasswordLength: Int? { get }

  /// Whether its own cost is one that it would verify, too. A hasher whose cost is not bounded refuses to encode.
  var isBounded: Bool { get }

  /// The encoding of `password` under a new random salt. Slow by design: never call it on an event loop.
  func encode(_ password: String) throws(PasswordHashingError) -> String

  /// Whether `encoded` is well formed and of a cost within bounds, so that a password could match it. Quick.
  func recognizes(_ encoded: String) -> Bool

  /// Whether `password` is the one that `encoded` was made from. Slow; false, too, if hashing fails, as then nothing is known; false at once for an encoding that is damaged, of another algorithm, or
  /// of a cost that only an attack would ask for.
  func verify(_ password: String, encoded: String) -> Bool
}

extension PasswordHasher {
  public var maximumPasswordLength: Int? { nil }
}

/// Why a password was not encoded.
public enum PasswordHashingError: Error, Sendable {
  /// The algorithm cannot take it: it has more bytes than ``PasswordHasher/maximumPasswordLength``, or a NUL where C ends a text.
  case unsuitablePassword
  /// The library refused, most likely for want of memory, or the cost is out of bounds.
  case failed
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

/// The fields of an encoding, or nil if there are not `count` of them.
///
/// Django's column holds 128 characters. Ten times as many are nobody's hash, and not worth copying about.
func fields(of encoded: String, count: Int) -> [String]? {
  guard encoded.utf8.count <= 1280 else { return nil }
  let fields = encoded.split(separator: "$", omittingEmptySubsequences: false)
  return fields.count == count ? fields.map(String.init) : nil
}
