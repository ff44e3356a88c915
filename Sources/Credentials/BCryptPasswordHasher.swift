import CCrypt
import Crypto
import Foundation

/// Makes and verifies the hashes of Django's `BCryptSHA256PasswordHasher` and `BCryptPasswordHasher` with libxcrypt.
///
/// An encoding is `bcrypt_sha256$$2b$<rounds>$<salt and hash>`.
public struct BCryptPasswordHasher: PasswordHasher {
  /// The highest accepted cost: sixteen times the work of Django's default, which takes some seconds.
  public static let maximumRounds = 16

  public let algorithm: String
  private let isPrehashed: Bool
  private let rounds: Int

  /// Creates a hasher for one of the two algorithms.
  /// - Parameters:
  ///   - isPrehashed: Whether to hash with SHA-256 first (`bcrypt_sha256`), so that a password may have any length.
  ///     Without it, bcrypt takes 72 bytes.
  ///   - rounds: The cost of new hashes, as a power of two.
  public init(isPrehashed: Bool, rounds: Int = 12) {
    algorithm = isPrehashed ? "bcrypt_sha256" : "bcrypt"
    self.isPrehashed = isPrehashed
    self.rounds = rounds
  }

  public var maximumPasswordLength: Int? { isPrehashed ? nil : 72 }

  public var isBounded: Bool { (4...Self.maximumRounds).contains(rounds) }

  public func encode(_ password: String) throws(PasswordHashingError) -> String {
    guard isBounded, let setting = newSetting() else { throw .failed }
    guard let input = input(for: password) else { throw .unsuitablePassword }
    guard let hash = crypt(input, setting) else { throw .failed }
    return "\(algorithm)$\(hash)"
  }

  public var specimen: String { "\(algorithm)$$2b$\(rounds < 10 ? "0" : "")\(rounds)$\(randomAlphanumerics(53))" }

  public func recognizes(_ encoded: String) -> Bool { setting(of: encoded) != nil }

  public func verify(_ password: String, encoded: String) -> Bool {
    guard let setting = setting(of: encoded), let input = input(for: password), let hash = crypt(input, setting) else { return false }
    return constantTimeEqual(setting.utf8, hash.utf8)
  }

  /// Returns the text that bcrypt hashes. As in Django this is the digest in hexadecimal, because its bytes could
  /// contain a NUL.
  private func input(for password: String) -> String? {
    if isPrehashed { return SHA256.hash(data: Data(password.utf8)).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }
    return password.utf8.count <= 72 && password.utf8.allSatisfy { $0 != 0 } ? password : nil
  }

  /// Returns the hash in an encoding, which libxcrypt also reads as the setting to hash with.
  private func setting(of encoded: String) -> String? {
    guard encoded.hasPrefix(algorithm + "$"), encoded.utf8.count <= 80 else { return nil }
    let hash = String(encoded.dropFirst(algorithm.count + 1))
    guard let match = hash.wholeMatch(of: /\$2[aby]\$(\d\d)\$[.\/A-Za-z0-9]{53}/), let rounds = Int(match.1),
      (4...Self.maximumRounds).contains(rounds)
    else { return nil }
    return hash
  }

  private func newSetting() -> String? {
    let random = (0..<16).map { _ in CChar.random(in: .min ... .max) }
    guard let setting = crypt_gensalt_ra("$2b$", UInt(rounds), random, Int32(random.count)) else { return nil }
    defer { free(setting) }
    return String(cString: setting)
  }

  private func crypt(_ input: String, _ setting: String) -> String? {
    var data: UnsafeMutableRawPointer?
    var size: Int32 = 0
    defer { free(data) }
    return crypt_ra(input, setting, &data, &size).map { String(cString: $0) }
  }
}
