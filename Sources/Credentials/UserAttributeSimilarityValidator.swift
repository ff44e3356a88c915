public import Text

/// Refuses a password that shares most of its characters with the user's name or address, like Django's
/// `UserAttributeSimilarityValidator`.
public struct UserAttributeSimilarityValidator: PasswordValidator {
  /// An attribute that passwords are compared with, by its name in Django. The order is Django's, and the first similar
  /// attribute is reported.
  public enum Attribute: String, CaseIterable, Sendable {
    case username, firstName = "first_name", lastName = "last_name", email

    fileprivate var verboseName: String {
      switch self {
      case .username: "username"
      case .firstName: "first name"
      case .lastName: "last name"
      case .email: "email address"
      }
    }

    fileprivate func value(of user: UserAttributes) -> String {
      switch self {
      case .username: user.username
      case .firstName: user.firstName
      case .lastName: user.lastName
      case .email: user.email
      }
    }
  }

  private let attributes: [Attribute]
  private let maximumSimilarity: Double

  /// Creates a validator with the values of Django's options.
  /// - Parameters:
  ///   - attributes: `user_attributes`.
  ///   - maximumSimilarity: `max_similarity`, the ratio from which a password is refused. Django accepts no value below
  ///     0.1.
  public init(attributes: [Attribute] = Attribute.allCases, maximumSimilarity: Double = 0.7) {
    self.attributes = attributes
    self.maximumSimilarity = maximumSimilarity
  }

  public var helpText: LocalizableMessage { LocalizableMessage("Your password can’t be too similar to your other personal information.") }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    let password = Array(password.pythonLowercased.unicodeScalars)
    let similar = attributes.first { attribute in parts(of: attribute.value(of: user)).contains { isSimilar(password, to: $0) } }
    return similar.map { attribute in
      FieldError(
        code: "password_too_similar",
        // Each attribute has its own sentence, because other languages cannot just replace the noun.
        LocalizableMessage("The password is too similar to the \(attribute.verboseName).", ["verbose_name": .string(attribute.verboseName)]))
    }
  }

  /// Returns the words of `value` and the whole value in lowercase, like Django's `re.split(r"\W+", value) + [value]`.
  private func parts(of value: String) -> [[Unicode.Scalar]] {
    guard !value.isEmpty else { return [] }
    let whole = Array(value.pythonLowercased.unicodeScalars)
    return whole.split { !$0.isPythonWord }.map(Array.init) + [whole]
  }

  private func isSimilar(_ password: [Unicode.Scalar], to part: [Unicode.Scalar]) -> Bool {
    !exceedsLengthRatio(password.count, part.count) && quickRatio(password, part) >= maximumSimilarity
  }

  /// Returns whether a part is too short to make the password similar, like Django's `exceeds_maximum_length_ratio`.
  private func exceedsLengthRatio(_ password: Int, _ part: Int) -> Bool {
    password >= 10 * part && Double(part) < maximumSimilarity / 2 * Double(password)
  }

  /// Returns twice the number of common characters divided by all characters, like Python's
  /// `SequenceMatcher(a=a, b=b).quick_ratio()`.
  private func quickRatio(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Double {
    var available: [Unicode.Scalar: Int] = [:]
    for scalar in b { available[scalar, default: 0] += 1 }
    var common = 0
    for scalar in a {
      guard let left = available[scalar], left > 0 else { continue }
      available[scalar] = left - 1
      common += 1
    }
    return a.isEmpty && b.isEmpty ? 1 : 2 * Double(common) / Double(a.count + b.count)
  }
}
