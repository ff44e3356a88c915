public import Text

/// Django's `UserAttributeSimilarityValidator`: refuses a password that shares most of its characters with the user's name or address.
public struct UserAttributeSimilarityValidator: PasswordValidator {
  /// What a password may be compared with, by Django's names; the order is Django's, in which the first hit counts.
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

  /// - Parameters:
  ///   - attributes: Django's `user_attributes`.
  ///   - maximumSimilarity: Django's `max_similarity`: the ratio from which a password is refused. Django takes none below 0.1.
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
        // A sentence each: other languages need more than another noun.
        LocalizableMessage("The password is too similar to the \(attribute.verboseName).", ["verbose_name": .string(attribute.verboseName)]))
    }
  }

  /// Django's `re.split(r"\W+", value) + [value]`, in lower case.
  private func parts(of value: String) -> [[Unicode.Scalar]] {
    guard !value.isEmpty else { return [] }
    let whole = Array(value.pythonLowercased.unicodeScalars)
    return whole.split { !$0.isPythonWord }.map(Array.init) + [whole]
  }

  private func isSimilar(_ password: [Unicode.Scalar], to part: [Unicode.Scalar]) -> Bool {
    !exceedsLengthRatio(password.count, part.count) && quickRatio(password, part) >= maximumSimilarity
  }

  /// Django's `exceeds_maximum_length_ratio`: a part this much shorter than the password cannot make it similar.
  private func exceedsLengthRatio(_ password: Int, _ part: Int) -> Bool {
    password >= 10 * part && Double(part) < maximumSimilarity / 2 * Double(password)
  }

  /// Python's `SequenceMatcher(a=a, b=b).quick_ratio()`: twice the characters in common, over all of them.
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
