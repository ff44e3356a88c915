import CCrypt
import Crypto
import Foundation

/// Django's `BCryptSHA256PasswordHasher` and `BCryptPasswordHasher`: `bcrypt_sha256$$2b$<rounds>$<salt and hash>`, by libxcrypt.
public struct BCryptPasswordHasher: PasswordHasher {
  /// Sixteen times the work of Django's default, some seconds.
  public static let maximumRounds = 16

  public let algorithm: String
  private let isPrehashed: Bool
  private let rounds: Int

  /// - Parameters:
  ///   - isPrehashed: hash with SHA-256 first, which takes passwords of any length (`bcrypt_sha256`); bcrypt alone takes 72 bytes.
  ///   - rounds: the cost of new hashes, as a power of two.
  public init(isPrehashed: Bool, rounds: Int = 12) {
    algorithm = isPrehashed ? "bcrypt_sha256" : "bcrypt"
    self.isPrehashed = isPrehashed
    self.rounds = rounds
  }

  public var maximumPasswordLength: Int? { isPrehashed ? nil : 72 }

  public var isBounded: Bool { (4...Self.maximumRounds).contains(rounds) }

  public func encode(_ password: String) throws(PasswordHashingError) -> String {
    guard isBounded, let setting = newSetting() else { throw .failed }
    guard let phrase = phrase(for: password) else { throw .unsuitablePassword }
    guard let hash = crypt(phrase, setting) else { throw .failed }
    return "\(algorithm)$\(hash)"
  }

  public func recognizes(_ encoded: String) -> Bool { setting(of: encoded) != nil }

  public func verify(_ password: String, encoded: String) -> Bool {
    guard let setting = setting(of: encoded), let phrase = phrase(for: password), let hash = crypt(phrase, setting) else { return false }
    return constantTimeEqual(setting.utf8, hash.utf8)
  }

  /// What bcrypt hashes: as in Django the digest's hexadecimal digits, as its bytes might hold a NUL.
  private func phrase(for password: String) -> String? {
    if isPrehashed { return SHA256.hash(data: Data(password.utf8)).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }
    return password.utf8.count <= 72 && password.utf8.allSatisfy { $0 != 0 } ? password : nil
  }

  /// The hash in an encoding, which is its own setting, too.
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

  private func crypt(_ phrase: String, _ setting: String) -> String? {
    var data: UnsafeMutableRawPointer?
    var size: Int32 = 0
    defer { free(data) }
    return crypt_ra(phrase, setting, &data, &size).map { String(cString: $0) }
  }
}
