/// Makes and verifies one of Django's password encodings (`django.contrib.auth.hashers`).
public protocol PasswordHasher: Sendable {
  /// The first field of the encoding, as in Django, such as `pbkdf2_sha256`.
  var algorithm: String { get }

  /// The most bytes of UTF-8 that a password may have, or `nil` if the algorithm has no limit.
  var maximumPasswordLength: Int? { get }

  /// Whether the cost of new hashes is one that ``verify(_:encoded:)`` accepts. Otherwise ``encode(_:)`` fails.
  var isBounded: Bool { get }

  /// Returns the encoding of `password` with a new random salt. It is slow, so never call it on an event loop.
  func encode(_ password: String) throws(PasswordHashingError) -> String

  /// An encoding of the length and the characters that ``encode(_:)`` returns, to find out whether a database can store
  /// them. It is no hash of any password.
  var specimen: String { get }

  /// Returns whether `encoded` is well formed and its cost within bounds, so that a password could match it. It is
  /// fast.
  func recognizes(_ encoded: String) -> Bool

  /// Returns whether `encoded` was made from `password`. It is slow, so never call it on an event loop.
  ///
  /// The result is `false` at once for an encoding that ``recognizes(_:)`` refuses, and also `false` if hashing fails.
  func verify(_ password: String, encoded: String) -> Bool
}

extension PasswordHasher {
  public var maximumPasswordLength: Int? { nil }
}

/// The reason why a password was not encoded.
public enum PasswordHashingError: Error, Sendable {
  /// The algorithm cannot hash the password: it has more bytes than ``PasswordHasher/maximumPasswordLength`` or
  /// contains a NUL.
  case unsuitablePassword
  /// The library failed, most likely because memory ran out, or the cost is out of bounds.
  case failed
}
