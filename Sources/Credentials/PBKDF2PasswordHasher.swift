import CryptoExtras
import Foundation

/// Makes and verifies the hashes of Django's `PBKDF2PasswordHasher` and `PBKDF2SHA1PasswordHasher`.
///
/// An encoding is `pbkdf2_sha256$<iterations>$<salt>$<base64>`.
public struct PBKDF2PasswordHasher: PasswordHasher {
  /// The hash function that PBKDF2 iterates.
  public enum Digest: String, Sendable {
    case sha256, sha1
  }

  /// The number of iterations in Django 6.1.
  public static let defaultIterations = 1_500_000
  /// The highest accepted number of iterations: over six times the default, which takes some seconds. A higher one is
  /// damage or an attack.
  public static let maximumIterations = 10_000_000

  private struct Parameters {
    var iterations: Int
    var salt: String
  }

  public var algorithm: String { "pbkdf2_\(digest.rawValue)" }
  private let digest: Digest
  private let iterations: Int

  /// Creates a hasher.
  /// - Parameter iterations: The cost of new hashes; a stored hash contains its own.
  public init(_ digest: Digest = .sha256, iterations: Int = defaultIterations) {
    self.digest = digest
    self.iterations = iterations
  }

  public var isBounded: Bool { Self.isBounded(iterations) }

  public func encode(_ password: String) throws(PasswordHashingError) -> String {
    guard isBounded else { throw .failed }
    return try encode(password, Parameters(iterations: iterations, salt: randomAlphanumerics(22)))
  }

  public var specimen: String { encoding(Parameters(iterations: iterations, salt: randomAlphanumerics(22)), Data(count: keyLength)) }

  public func recognizes(_ encoded: String) -> Bool { parameters(of: encoded) != nil }

  public func verify(_ password: String, encoded: String) -> Bool {
    // If the hash cannot be computed, no password matches it.
    guard let parameters = parameters(of: encoded), let again = try? encode(password, parameters) else { return false }
    return constantTimeEqual(encoded.utf8, again.utf8)
  }

  private static func isBounded(_ iterations: Int) -> Bool { (1...maximumIterations).contains(iterations) }

  private func parameters(of encoded: String) -> Parameters? {
    guard let fields = fields(of: encoded, count: 4), fields[0] == algorithm, let iterations = Int(fields[1]), Self.isBounded(iterations),
      !fields[3].isEmpty
    else { return nil }
    return Parameters(iterations: iterations, salt: fields[2])
  }

  private func encode(_ password: String, _ parameters: Parameters) throws(PasswordHashingError) -> String {
    do {
      // The checked function refuses fewer than 210,000 rounds, which old hashes have. isBounded has checked the
      // number.
      let key = try KDF.Insecure.PBKDF2.deriveKey(
        from: Data(password.utf8), salt: Data(parameters.salt.utf8), using: digest == .sha256 ? .sha256 : .insecureSHA1,
        outputByteCount: keyLength, unsafeUncheckedRounds: parameters.iterations)
      return encoding(parameters, key.withUnsafeBytes { Data($0) })
    } catch {
      throw .failed
    }
  }

  private var keyLength: Int { digest == .sha256 ? 32 : 20 }

  private func encoding(_ parameters: Parameters, _ key: Data) -> String {
    "\(algorithm)$\(parameters.iterations)$\(parameters.salt)$\(key.base64EncodedString())"
  }
}
