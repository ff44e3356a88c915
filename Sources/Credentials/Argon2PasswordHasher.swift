import CArgon2

/// Makes and verifies the hashes of Django's `Argon2PasswordHasher` with the reference implementation of RFC 9106.
///
/// An encoding is `argon2$argon2id$v=19$m=…,t=…,p=…$<salt>$<hash>`. New hashes are argon2id; argon2i and argon2d are
/// only verified.
public struct Argon2PasswordHasher: PasswordHasher {
  /// The parameters t, m and p of RFC 9106, under Django's names.
  public struct Cost: Sendable, Equatable {
    /// The number of passes over the memory.
    public var timeCost: Int
    /// The memory that one hash uses, in KiB.
    public var memoryCost: Int
    /// The number of threads that each call starts.
    public var parallelism: Int

    /// Creates a cost; the default values are Django's and use 100 MiB.
    public init(timeCost: Int = 2, memoryCost: Int = 102_400, parallelism: Int = 8) {
      self.timeCost = timeCost
      self.memoryCost = memoryCost
      self.parallelism = parallelism
    }

    /// Whether the cost is one that the service accepts.
    ///
    /// Each slot of the hashing pool may use this much: at most 1 GiB, which is ten times Django's default, sixteen
    /// times Django's work, and 64 threads. The other bounds are those of RFC 9106.
    var isBounded: Bool {
      guard (1...1 << 20).contains(timeCost), (8...1 << 20).contains(memoryCost), (1...64).contains(parallelism) else { return false }
      return memoryCost >= 8 * parallelism && timeCost * memoryCost <= 16 * 2 * 102_400
    }
  }

  public let algorithm = "argon2"
  private let cost: Cost

  /// Creates a hasher; `cost` applies to new hashes only.
  public init(cost: Cost = Cost()) { self.cost = cost }

  public var isBounded: Bool { cost.isBounded }

  public func encode(_ password: String) throws(PasswordHashingError) -> String {
    guard isBounded else { throw .failed }
    let (time, memory, lanes) = (UInt32(cost.timeCost), UInt32(cost.memoryCost), UInt32(cost.parallelism))
    // As in Django, the salt is the bytes of the text, and the hash has 32 bytes.
    let salt = Array(randomAlphanumerics(22).utf8)
    let password = Array(password.utf8)
    var encoded = [CChar](repeating: 0, count: argon2_encodedlen(time, memory, lanes, UInt32(salt.count), 32, Argon2_id))
    let result = argon2id_hash_encoded(time, memory, lanes, password, password.count, salt, salt.count, 32, &encoded, encoded.count)
    guard result == ARGON2_OK.rawValue else { throw .failed }
    return algorithm + String(decoding: encoded.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  public var specimen: String {
    // 22 bytes of salt and 32 of hash in base64, without padding.
    let (salt, hash) = (randomAlphanumerics(30), randomAlphanumerics(43))
    return "\(algorithm)$argon2id$v=19$m=\(cost.memoryCost),t=\(cost.timeCost),p=\(cost.parallelism)$\(salt)$\(hash)"
  }

  public func recognizes(_ encoded: String) -> Bool { variant(of: encoded) != nil }

  public func verify(_ password: String, encoded: String) -> Bool {
    guard let variant = variant(of: encoded) else { return false }
    let password = Array(password.utf8)
    return argon2_verify(String(encoded.dropFirst(algorithm.count)), password, password.count, variant) == ARGON2_OK.rawValue
  }

  /// Returns the kind of argon2 that an encoding names, or `nil` if its cost is out of bounds. The library parses the
  /// rest.
  private func variant(of encoded: String) -> argon2_type? {
    guard encoded.utf8.count <= 1280, encoded.utf8.allSatisfy({ $0 != 0 }),
      let match = encoded.wholeMatch(of: /argon2\$argon2(id|i|d)(?:\$v=\d+)?\$m=(\d+),t=(\d+),p=(\d+)\$[A-Za-z0-9+\/]+\$[A-Za-z0-9+\/]+/),
      let memory = Int(match.2), let time = Int(match.3), let lanes = Int(match.4),
      Cost(timeCost: time, memoryCost: memory, parallelism: lanes).isBounded
    else { return nil }
    return ["i": Argon2_i, "d": Argon2_d][match.1] ?? Argon2_id
  }
}
