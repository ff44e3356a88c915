import CArgon2

/// Django's `Argon2PasswordHasher`: `argon2$argon2id$v=19$m=…,t=…,p=…$<salt>$<hash>` (RFC 9106), by the reference implementation.
///
/// It makes argon2id, and verifies argon2i and argon2d too.
public struct Argon2PasswordHasher: PasswordHasher {
  /// RFC 9106's t, m and p, under Django's names.
  public struct Cost: Sendable, Equatable {
    /// Passes over the memory.
    public var timeCost: Int
    /// KiB.
    public var memoryCost: Int
    /// Threads, of which each call starts as many.
    public var parallelism: Int

    /// Django's defaults: 100 MiB.
    public init(timeCost: Int = 2, memoryCost: Int = 102_400, parallelism: Int = 8) {
      self.timeCost = timeCost
      self.memoryCost = memoryCost
      self.parallelism = parallelism
    }

    /// At most 1 GiB, ten times Django's default and as much as each slot of the hashing pool might take; at most sixteen times its work; no
    /// more threads than a machine has a use for. The rest is what RFC 9106 asks for.
    var isBounded: Bool {
      guard (1...1 << 20).contains(timeCost), (8...1 << 20).contains(memoryCost), (1...64).contains(parallelism) else { return false }
      return memoryCost >= 8 * parallelism && timeCost * memoryCost <= 16 * 2 * 102_400
    }
  }

  public let algorithm = "argon2"
  private let cost: Cost

  public init(cost: Cost = Cost()) { self.cost = cost }

  public var isBounded: Bool { cost.isBounded }

  public func encode(_ password: String) throws(PasswordHashingError) -> String {
    guard isBounded else { throw .failed }
    let (time, memory, lanes) = (UInt32(cost.timeCost), UInt32(cost.memoryCost), UInt32(cost.parallelism))
    // Django's salt is the text's bytes, and its hash has 32.
    let salt = Array(randomAlphanumerics(22).utf8)
    let password = Array(password.utf8)
    var encoded = [CChar](repeating: 0, count: argon2_encodedlen(time, memory, lanes, UInt32(salt.count), 32, Argon2_id))
    let result = argon2id_hash_encoded(time, memory, lanes, password, password.count, salt, salt.count, 32, &encoded, encoded.count)
    guard result == ARGON2_OK.rawValue else { throw .failed }
    return algorithm + String(decoding: encoded.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  public func recognizes(_ encoded: String) -> Bool { variant(of: encoded) != nil }

  public func verify(_ password: String, encoded: String) -> Bool {
    guard let variant = variant(of: encoded) else { return false }
    let password = Array(password.utf8)
    return argon2_verify(String(encoded.dropFirst(algorithm.count)), password, password.count, variant) == ARGON2_OK.rawValue
  }

  /// The kind of argon2 that an encoding names, if its cost is within bounds; the library parses the rest.
  private func variant(of encoded: String) -> argon2_type? {
    guard encoded.utf8.count <= 1280, encoded.utf8.allSatisfy({ $0 != 0 }),
      let match = encoded.wholeMatch(of: /argon2\$argon2(id|i|d)(?:\$v=\d+)?\$m=(\d+),t=(\d+),p=(\d+)\$[A-Za-z0-9+\/]+\$[A-Za-z0-9+\/]+/),
      let memory = Int(match.2), let time = Int(match.3), let lanes = Int(match.4),
      Cost(timeCost: time, memoryCost: memory, parallelism: lanes).isBounded
    else { return nil }
    return ["i": Argon2_i, "d": Argon2_d][match.1] ?? Argon2_id
  }
}
