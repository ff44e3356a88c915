import CryptoExtras
import Foundation

/// Makes and verifies the hashes of Django's `ScryptPasswordHasher` (RFC 7914).
///
/// An encoding is `scrypt$<work factor>$<salt>$<block size>$<parallelism>$<base64 of 64 bytes>`.
public struct ScryptPasswordHasher: PasswordHasher {
  /// The parameters N, r and p of RFC 7914, under Django's names.
  public struct Cost: Sendable, Equatable {
    /// The parameter N, a power of two.
    public var workFactor: Int
    /// The parameter r.
    public var blockSize: Int
    /// The parameter p.
    public var parallelism: Int

    /// Creates a cost; the default values are Django's and take 16 MiB and about a tenth of a second.
    public init(workFactor: Int = 16384, blockSize: Int = 8, parallelism: Int = 5) {
      self.workFactor = workFactor
      self.blockSize = blockSize
      self.parallelism = parallelism
    }

    /// Whether the cost is one that the service accepts.
    ///
    /// Without bounds, a hash made for an attack could trap in CryptoExtras or use up the memory. The bounds are 256
    /// MiB, which is eight times what Django can verify, sixteen times the work of Django's default, and what RFC 7914
    /// requires of N.
    var isBounded: Bool {
      guard (1...32).contains(blockSize), (1...64).contains(parallelism), (2...1 << 21).contains(workFactor) else { return false }
      return workFactor.nonzeroBitCount == 1 && (blockSize > 1 || workFactor < 1 << 16) && 128 * workFactor * blockSize <= 256 << 20
        && workFactor * blockSize * parallelism <= 16 * 16384 * 8 * 5
    }
  }

  public let algorithm = "scrypt"
  private let cost: Cost

  /// Creates a hasher; `cost` applies to new hashes only.
  public init(cost: Cost = Cost()) { self.cost = cost }

  public var isBounded: Bool { cost.isBounded }

  public func encode(_ password: String) throws(PasswordHashingError) -> String {
    guard isBounded else { throw .failed }
    return try encode(password, cost, salt: randomAlphanumerics(22))
  }

  public var specimen: String { encoding(cost, salt: randomAlphanumerics(22), Data(count: Self.keyLength)) }

  public func recognizes(_ encoded: String) -> Bool { parameters(of: encoded) != nil }

  public func verify(_ password: String, encoded: String) -> Bool {
    // If the hash cannot be computed, no password matches it.
    guard let (cost, salt) = parameters(of: encoded), let again = try? encode(password, cost, salt: salt) else { return false }
    return constantTimeEqual(encoded.utf8, again.utf8)
  }

  private func parameters(of encoded: String) -> (Cost, salt: String)? {
    guard let fields = fields(of: encoded, count: 6), fields[0] == algorithm, let workFactor = Int(fields[1]), let blockSize = Int(fields[3]),
      let parallelism = Int(fields[4]), !fields[5].isEmpty
    else { return nil }
    let cost = Cost(workFactor: workFactor, blockSize: blockSize, parallelism: parallelism)
    return cost.isBounded ? (cost, fields[2]) : nil
  }

  private func encode(_ password: String, _ cost: Cost, salt: String) throws(PasswordHashingError) -> String {
    do {
      let key = try KDF.Scrypt.deriveKey(
        from: Data(password.utf8), salt: Data(salt.utf8), outputByteCount: Self.keyLength, rounds: cost.workFactor, blockSize: cost.blockSize,
        parallelism: cost.parallelism)
      return encoding(cost, salt: salt, key.withUnsafeBytes { Data($0) })
    } catch {
      throw .failed
    }
  }

  private static let keyLength = 64

  private func encoding(_ cost: Cost, salt: String, _ key: Data) -> String {
    "\(algorithm)$\(cost.workFactor)$\(salt)$\(cost.blockSize)$\(cost.parallelism)$\(key.base64EncodedString())"
  }
}
