/// Django's `UserAttributeSimilarityValidator`: refuses a password that shares most of its characters with the user's name or address.
public struct UserAttributeSimilarityValidator: PasswordValidator {
  private let maximumSimilarity: Double

  /// - Parameter maximumSimilarity: the ratio from which a password is refused, 0.1 to 1.
  public init(maximumSimilarity: Double = 0.7) { self.maximumSimilarity = maximumSimilarity }

  public var helpText: String { "Your password can’t be too similar to your other personal information." }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    let attributes = [
      (user.username, "username"), (user.firstName, "first name"), (user.lastName, "last name"), (user.email, "email address"),
    ]
    let password = Array(password.pythonLowercased.unicodeScalars)
    for (value, verboseName) in attributes where parts(of: value).contains(where: { isSimilar(password, to: $0) }) {
      return FieldError(
        code: "password_too_similar", message: "The password is too similar to the \(verboseName).",
        parameters: ["verbose_name": .string(verboseName)])
    }
    return nil
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
