import CryptoExtras
import Foundation

/// Django's default: `pbkdf2_sha256$<iterations>$<salt>$<base64 of 32 bytes>`.
public struct PBKDF2SHA256PasswordHasher: PasswordHasher {
  public static let algorithm = "pbkdf2_sha256"

  /// Django 6.1's count.
  public static let defaultIterations = 1_500_000

  /// The most that a stored hash may ask for: over six times today's default, some seconds of work. More is damage or an attack.
  public static let maximumIterations = 10_000_000

  private let iterations: Int

  /// - Parameter iterations: the cost of new hashes; stored ones bring their own.
  public init(iterations: Int = defaultIterations) {
    self.iterations = iterations
  }

  public func encode(_ password: String) throws -> String {
    let salt = randomAlphanumerics(22)
    let hash = try Self.derive(password, salt: salt, iterations: iterations)
    return "\(Self.algorithm)$\(iterations)$\(salt)$\(hash)"
  }

  public func verify(_ password: String, encoded: String) -> Bool {
    let fields = encoded.split(separator: "$", omittingEmptySubsequences: false)
    guard fields.count == 4, fields[0] == Self.algorithm,
      let iterations = Int(fields[1]), (1...Self.maximumIterations).contains(iterations),
      let hash = try? Self.derive(password, salt: String(fields[2]), iterations: iterations)
    else { return false }
    return constantTimeEqual(hash, String(fields[3]))
  }

  private static func derive(_ password: String, salt: String, iterations: Int) throws -> String {
    // The checked call refuses under 210,000 rounds, which old hashes have; the bounds are ours.
    let key = try KDF.Insecure.PBKDF2.deriveKey(
      from: Data(password.utf8), salt: Data(salt.utf8), using: .sha256, outputByteCount: 32, unsafeUncheckedRounds: iterations)
    return key.withUnsafeBytes { Data($0).base64EncodedString() }
  }
}
