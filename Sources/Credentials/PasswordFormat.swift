/// How the users table writes a password hash: Django's way, or as the algorithm's own string, which most other
/// frameworks store.
///
/// The hashers read and write Django's encodings. A format converts between these and the text in the table.
public enum PasswordFormat: Sendable, Equatable {
  /// Django's encodings, such as `bcrypt$$2b$12$…` and `argon2$argon2id$…`.
  case django
  /// The strings of bcrypt and argon2, such as `$2b$12$…` and `$argon2id$…`. An empty text means that the user has no
  /// password.
  case crypt(CryptOptions)

  /// The names of the formats.
  public enum Name: String, CaseIterable, Sendable {
    case django, crypt
  }

  /// What some frameworks write differently in the format ``PasswordFormat/crypt(_:)``.
  public struct CryptOptions: Sendable, Equatable {
    /// The version of bcrypt that a new hash names. The hash is the same for every password that is valid UTF-8.
    public enum Ident: String, CaseIterable, Sendable {
      case twoA = "2a"
      case twoB = "2b"
      case twoY = "2y"
    }

    /// The version in new hashes of bcrypt. A stored hash may have any.
    public var ident = Ident.twoB
    /// The text before new hashes, such as `{bcrypt}`, by which Spring Security chooses the algorithm.
    public var prefix = ""

    /// Creates the options of a format without a prefix.
    public init() {}
  }

  /// The longest text that is converted, in bytes. No hash is as long.
  private static let maximumBytes = 1280

  /// Returns Django's encoding of a stored text, or an empty text, which no hasher recognizes, if the format has none.
  func encoding(of stored: String) -> String {
    guard case .crypt(let options) = self else { return stored }
    guard stored.utf8.count <= Self.maximumBytes else { return "" }
    let (prefix, hash) = Self.split(stored)
    guard let algorithm = CryptAlgorithm(hash: hash), prefix.isEmpty || prefix == options.prefix || algorithm.matches(prefix: prefix) else {
      return ""
    }
    return algorithm.djangoPrefix + hash
  }

  /// Returns the text to store for Django's encoding of a new hash by an algorithm that ``supports(_:)``.
  func stored(_ encoding: String) -> String {
    guard case .crypt(let options) = self, let algorithm = CryptAlgorithm.allCases.first(where: { encoding.hasPrefix($0.djangoPrefix) }) else {
      return encoding
    }
    let hash = encoding.dropFirst(algorithm.djangoPrefix.count)
    // libxcrypt names its version of bcrypt in the two characters after the first `$`.
    return options.prefix + (algorithm == .bcrypt ? "$\(options.ident.rawValue)\(hash.dropFirst(3))" : String(hash))
  }

  /// Returns whether hashes of the algorithm, by its name in Django, can be written in this format.
  func supports(_ algorithm: String) -> Bool { self == .django || CryptAlgorithm(rawValue: algorithm) != nil }

  /// Returns whether the stored text says that the user has no password, and so gets no reset email.
  ///
  /// Django's unusable passwords also say so in the format crypt: the service wrote them before the format was set.
  public func isUnusable(_ stored: String) -> Bool { UnusablePassword.matches(stored) || self != .django && stored.isEmpty }

  /// Returns what to store for a user without a password.
  public func makeUnusable() -> String { self == .django ? UnusablePassword.make() : "" }

  /// Returns the name of the algorithm that the stored text names, or `nil` if it names none.
  public func algorithm(of stored: String) -> String? {
    let encoding = encoding(of: stored)
    let algorithm = encoding.prefix { $0 != "$" }
    return algorithm.count < encoding.count && algorithm.count <= 20 ? String(algorithm) : nil
  }

  /// Returns the prefix in braces, which may be empty, and the rest.
  private static func split(_ stored: String) -> (prefix: Substring, hash: Substring) {
    guard let match = stored.prefixMatch(of: /\{[^{}$]*\}/) else { return ("", stored[...]) }
    return (match.output, stored[match.range.upperBound...])
  }
}

/// An algorithm whose own string other frameworks store. The raw value is its name in Django.
private enum CryptAlgorithm: String, CaseIterable {
  case bcrypt, argon2

  /// Returns the algorithm of a string, or `nil` if it is neither of them. The hasher checks the rest.
  init?(hash: Substring) {
    if hash.starts(with: /\$2[aby]\$/) {
      self = .bcrypt
    } else if hash.hasPrefix("$argon2") {
      self = .argon2
    } else {
      return nil
    }
  }

  /// What Django writes before the string.
  var djangoPrefix: String { self == .bcrypt ? "bcrypt$" : "argon2" }

  /// Whether Spring Security takes the prefix for this algorithm: `{argon2}`, or `{argon2@SpringSecurity_v5_8}`. Behind
  /// another prefix, such as `{noop}`, the same string would be something else.
  func matches(prefix: Substring) -> Bool { prefix == "{\(rawValue)}" || prefix.hasPrefix("{\(rawValue)@") }
}

extension PasswordFormat {
  /// Returns the format with this name.
  /// - Parameters:
  ///   - options: `ident` and `prefix`, which only the format crypt has.
  ///   - algorithm: The algorithm of new hashes, by its name in Django.
  public static func make(_ name: Name, options: [String: String] = [:], algorithm: String) throws(PasswordFormatError) -> PasswordFormat {
    guard name == .crypt else {
      guard options.isEmpty else { throw .unusedOptions }
      return .django
    }
    guard let algorithm = CryptAlgorithm(rawValue: algorithm) else { throw .unsupportedAlgorithm }
    return .crypt(try CryptOptions(options, algorithm))
  }

  /// The algorithms that the format crypt can write, by their names in Django.
  public static var cryptAlgorithms: [String] { CryptAlgorithm.allCases.map(\.rawValue) }
}

extension PasswordFormat.CryptOptions {
  fileprivate init(_ options: [String: String], _ algorithm: CryptAlgorithm) throws(PasswordFormatError) {
    for name in options.keys.sorted() where !["ident", "prefix"].contains(name) { throw .unknownOption }
    if let text = options["ident"] {
      guard algorithm == .bcrypt else { throw .identWithoutBcrypt }
      guard let ident = Ident(rawValue: text) else { throw .unknownIdent }
      self.ident = ident
    }
    if let text = options["prefix"] {
      guard text.wholeMatch(of: /\{[A-Za-z0-9@._-]{1,38}\}/) != nil else { throw .invalidPrefix }
      guard !CryptAlgorithm.allCases.contains(where: { $0 != algorithm && $0.matches(prefix: text[...]) }) else { throw .prefixOfOtherAlgorithm }
      prefix = text
    }
  }
}

/// The reason why a format cannot be used.
public enum PasswordFormatError: Error, Sendable, Equatable {
  /// The format has no string for hashes of the algorithm.
  case unsupportedAlgorithm
  /// The format django has no options.
  case unusedOptions
  /// The format has no such option.
  case unknownOption
  /// Only bcrypt has versions.
  case identWithoutBcrypt
  /// bcrypt has no such version.
  case unknownIdent
  /// The prefix is not a short name in braces.
  case invalidPrefix
  /// The prefix names another algorithm than that of new hashes, so the other framework could not verify them.
  case prefixOfOtherAlgorithm
}
