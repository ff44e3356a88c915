/// Hashes new passwords with one algorithm and verifies stored passwords of every known algorithm, like Django's
/// `PASSWORD_HASHERS`.
public struct PasswordHashers: Sendable {
  /// The hasher for new passwords.
  public let preferred: any PasswordHasher
  /// How the users table writes a hash.
  public let format: PasswordFormat

  /// The hashers that can verify a stored password. Their costs do not matter, because a stored hash contains its own.
  private static let known: [any PasswordHasher] = [
    PBKDF2PasswordHasher(.sha256), PBKDF2PasswordHasher(.sha1), Argon2PasswordHasher(), ScryptPasswordHasher(),
    BCryptPasswordHasher(isPrehashed: true), BCryptPasswordHasher(isPrehashed: false),
  ]

  /// Creates the hashers.
  /// - Parameters:
  ///   - preferred: Hashes new passwords. In the format crypt it must be bcrypt or argon2.
  ///   - format: How the users table writes a hash.
  public init(preferred: any PasswordHasher = PBKDF2PasswordHasher(), format: PasswordFormat = .django) {
    precondition(format.supports(preferred.algorithm), "\(preferred.algorithm) has no string in the format crypt")
    self.preferred = preferred
    self.format = format
  }

  /// Returns the text to store for a new password. It is slow, so never call it on an event loop.
  public func encode(_ password: String) throws(PasswordHashingError) -> String { format.stored(try preferred.encode(password)) }

  /// A text like those that ``encode(_:)`` returns, which no password matches. It is fast.
  public var specimen: String { format.stored(preferred.specimen) }

  /// Returns whether the stored text was made from `password`, like Django's `check_password`. It is slow, so never call
  /// it on an event loop.
  public func verify(_ password: String, encoded stored: String) -> Bool {
    let encoding = format.encoding(of: stored)
    return hasher(of: encoding)?.verify(password, encoded: encoding) ?? false
  }

  /// Returns whether any password could match the stored text.
  public func recognizes(_ stored: String) -> Bool {
    let encoding = format.encoding(of: stored)
    return hasher(of: encoding)?.recognizes(encoding) ?? false
  }

  /// Returns the hasher for an encoding, or `nil` if its algorithm is unknown, like Django's `identify_hasher`.
  private func hasher(of encoded: String) -> (any PasswordHasher)? {
    let algorithm = encoded.utf8.prefix(20).prefix { $0 != UInt8(ascii: "$") }
    return ([preferred] + Self.known).first { $0.algorithm.utf8.elementsEqual(algorithm) }
  }

  /// The names of the known algorithms.
  public static var algorithms: [String] { known.map(\.algorithm) }

  /// Returns a new hasher for the named algorithm.
  /// - Parameter options: The cost, by the names of the attributes of Django's hashers. An option that is missing has
  ///   Django's default value.
  public static func make(_ algorithm: String, options: [String: Int] = [:]) throws(PasswordHasherOptionError) -> any PasswordHasher {
    var options = Options(values: options)
    let hasher: any PasswordHasher
    switch algorithm {
    case "pbkdf2_sha256": hasher = PBKDF2PasswordHasher(.sha256, iterations: options.take("iterations", PBKDF2PasswordHasher.defaultIterations))
    case "pbkdf2_sha1": hasher = PBKDF2PasswordHasher(.sha1, iterations: options.take("iterations", PBKDF2PasswordHasher.defaultIterations))
    case "argon2":
      let defaults = Argon2PasswordHasher.Cost()
      hasher = Argon2PasswordHasher(
        cost: .init(
          timeCost: options.take("time_cost", defaults.timeCost), memoryCost: options.take("memory_cost", defaults.memoryCost),
          parallelism: options.take("parallelism", defaults.parallelism)))
    case "scrypt":
      let defaults = ScryptPasswordHasher.Cost()
      hasher = ScryptPasswordHasher(
        cost: .init(
          workFactor: options.take("work_factor", defaults.workFactor), blockSize: options.take("block_size", defaults.blockSize),
          parallelism: options.take("parallelism", defaults.parallelism)))
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

    mutating func take(_ name: String, _ defaultValue: Int) -> Int {
      taken.append(name)
      return values.removeValue(forKey: name) ?? defaultValue
    }
  }
}

/// The reason why a hasher cannot be made.
public enum PasswordHasherOptionError: Error, Sendable, Equatable {
  /// No hasher has this name.
  case unknownAlgorithm
  /// The algorithm has no such option; `known` lists its options.
  case unknownOption(String, known: [String])
  /// The algorithm cannot have this cost, or a stored hash with this cost would be refused.
  case outOfBounds
}
