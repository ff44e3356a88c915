/// Django's `PASSWORD_HASHERS`: one for new passwords, and all that are known for stored ones.
public struct PasswordHashers: Sendable {
  /// Makes new hashes.
  public let preferred: any PasswordHasher

  /// Every encoding that verifies. Their own costs do not matter, as a stored hash brings its own.
  private static let known: [any PasswordHasher] = [
    PBKDF2PasswordHasher(.sha256), PBKDF2PasswordHasher(.sha1), Argon2PasswordHasher(), ScryptPasswordHasher(),
    BCryptPasswordHasher(isPrehashed: true), BCryptPasswordHasher(isPrehashed: false),
  ]

  public init(preferred: any PasswordHasher = PBKDF2PasswordHasher()) { self.preferred = preferred }

  /// Django's `check_password`: whether `password` is the one that `encoded` was made from. Slow; never on an event loop.
  public func verify(_ password: String, encoded: String) -> Bool {
    Self.hasher(of: encoded)?.verify(password, encoded: encoded) ?? false
  }

  /// Whether some password could match `encoded`.
  public func recognizes(_ encoded: String) -> Bool { Self.hasher(of: encoded)?.recognizes(encoded) ?? false }

  /// Django's `identify_hasher`.
  private static func hasher(of encoded: String) -> (any PasswordHasher)? {
    let algorithm = encoded.utf8.prefix(20).prefix { $0 != UInt8(ascii: "$") }
    return known.first { $0.algorithm.utf8.elementsEqual(algorithm) }
  }

  /// The algorithms by name.
  public static var algorithms: [String] { known.map(\.algorithm) }

  /// The hasher of that name, and of the cost that `options` name as Django's hashers do; what is not named has Django's default.
  public static func make(_ algorithm: String, options: [String: Int] = [:]) throws(PasswordHasherOptionError) -> any PasswordHasher {
    var options = Options(values: options)
    let hasher: any PasswordHasher
    switch algorithm {
    case "pbkdf2_sha256": hasher = PBKDF2PasswordHasher(.sha256, iterations: options.take("iterations", PBKDF2PasswordHasher.defaultIterations))
    case "pbkdf2_sha1": hasher = PBKDF2PasswordHasher(.sha1, iterations: options.take("iterations", PBKDF2PasswordHasher.defaultIterations))
    case "argon2":
      let usual = Argon2PasswordHasher.Cost()
      hasher = Argon2PasswordHasher(
        cost: .init(
          timeCost: options.take("time_cost", usual.timeCost), memoryCost: options.take("memory_cost", usual.memoryCost),
          parallelism: options.take("parallelism", usual.parallelism)))
    case "scrypt":
      let usual = ScryptPasswordHasher.Cost()
      hasher = ScryptPasswordHasher(
        cost: .init(
          workFactor: options.take("work_factor", usual.workFactor), blockSize: options.take("block_size", usual.blockSize),
          parallelism: options.take("parallelism", usual.parallelism)))
    case "bcrypt_sha256": hasher = BCryptPasswordHasher(isPrehashed: true, rounds: options.take("rounds", 12))
    case "bcrypt": hasher = BCryptPasswordHasher(isPrehashed: false, rounds: options.take("rounds", 12))
    default: throw .unknownAlgorithm
    }
    if let name = options.values.keys.sorted().first { throw .unknownOption(name, known: options.taken) }
    guard hasher.isBounded else { throw .outOfBounds }
    return hasher
  }

  private struct Options {
    var values: [String: Int]
    var taken: [String] = []

    mutating func take(_ name: String, _ usual: Int) -> Int {
      taken.append(name)
      return values.removeValue(forKey: name) ?? usual
    }
  }
}

/// Why there is no such hasher.
public enum PasswordHasherOptionError: Error, Sendable, Equatable {
  case unknownAlgorithm
  case unknownOption(String, known: [String])
  /// The cost is one that stored hashes are refused for, or that the algorithm cannot have.
  case outOfBounds
}
