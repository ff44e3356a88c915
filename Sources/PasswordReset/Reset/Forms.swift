public import Credentials
import Text

/// The value of a member in the body of a request.
public enum FieldInput: Sendable, Equatable {
  /// The member is missing or null.
  case missing
  /// The value is a string.
  case text(String)
  /// The value is a number, a list or anything else except a string.
  case wrongType
}

/// The value of a member that must be true or false in the body of a request.
public enum FlagInput: Sendable, Equatable {
  /// The member is missing or null.
  case missing
  /// The value is true or false.
  case value(Bool)
  /// The value is neither.
  case wrongType
}

/// The errors of each field, like Django's `form.errors`.
public struct FormErrors: Error, Sendable, Equatable {
  /// The errors by the name of the field.
  public var fields: [String: [FieldError]]

  /// Creates errors by the name of the field.
  public init(_ fields: [String: [FieldError]]) { self.fields = fields }

  static let wrongType = FieldError(code: "invalid", LocalizableMessage("Not a valid string."))
  static let noBoolean = FieldError(code: "invalid", LocalizableMessage("Not a valid boolean."))
}

/// Validates a request for a reset email like Django's `PasswordResetForm`, and also accepts a user name.
public struct PasswordResetForm: Sendable {
  private static let emailMaximumLength = 254
  private static let usernameMaximumLength = 150

  private let email: FieldInput
  private let username: FieldInput
  private let locale: FieldInput

  /// Creates a form from the members of a request.
  public init(email: FieldInput, username: FieldInput = .missing, locale: FieldInput = .missing) {
    self.email = email
    self.username = username
    self.locale = locale
  }

  /// Returns the identifier, of which there must be exactly one, or throws the errors of all fields.
  /// - Parameter hasUsernames: whether a user name identifies a user. Otherwise, the form has no such field.
  func clean(hasUsernames: Bool = true) throws(FormErrors) -> AccountIdentifier {
    var errors: [String: [FieldError]] = [:]
    checkLocale(locale, &errors)
    switch (email, hasUsernames ? username : .missing) {
    case (_, .missing):
      let address = cleanText(email, field: "email", maximumLength: Self.emailMaximumLength, &errors) { address in
        EmailValidator.accepts(address) ? nil : FieldError(code: "invalid", LocalizableMessage("Enter a valid email address."))
      }
      if errors.isEmpty { return .email(address) }
    case (.missing, _):
      let name = cleanText(username, field: "username", maximumLength: Self.usernameMaximumLength, &errors) { _ in nil }
      if errors.isEmpty { return .username(name.nfkc) }
    default:
      errors["username"] = [FieldError(code: "ambiguous", LocalizableMessage("Enter either an email address or a username, not both."))]
    }
    throw FormErrors(errors)
  }

  /// Strips the text and then applies all validators, like Django's `CharField.clean`.
  private func cleanText(
    _ input: FieldInput, field: String, maximumLength: Int, _ errors: inout [String: [FieldError]], validate: (String) -> FieldError?
  ) -> String {
    guard input != .wrongType else {
      errors[field] = [FormErrors.wrongType]
      return ""
    }
    guard case .text(let typed) = input, case let text = typed.stripped, !text.isEmpty else {
      errors[field] = [.required]
      return ""
    }
    var found: [FieldError] = []
    if let error = validate(text) { found.append(error) }
    let length = text.unicodeScalars.count
    if length > maximumLength {
      found.append(
        FieldError(
          code: "max_length",
          LocalizableMessage(
            "Ensure this value has at most {limit_value} characters (it has {show_value}).",
            ["limit_value": .int(maximumLength), "show_value": .int(length)], pluralArgument: "limit_value")))
    }
    if text.unicodeScalars.contains("\0") { found.append(.nullCharacters) }
    if !found.isEmpty { errors[field] = found }
    return text
  }
}

/// Validates a new password like Django's `SetPasswordForm`.
public struct SetPasswordForm: Sendable {
  private let newPassword1: FieldInput
  private let newPassword2: FieldInput
  private let checkOnly: FlagInput
  private let locale: FieldInput

  /// Creates a form from the members of a request.
  public init(newPassword1: FieldInput, newPassword2: FieldInput, checkOnly: FlagInput = .missing, locale: FieldInput = .missing) {
    self.newPassword1 = newPassword1
    self.newPassword2 = newPassword2
    self.checkOnly = checkOnly
    self.locale = locale
  }

  /// Whether the password must only be checked, and not set.
  public var isCheckOnly: Bool { checkOnly == .value(true) }

  /// Whether the form has only one password, because the user has not typed it again yet.
  private var isHalf: Bool { isCheckOnly && [.missing, .text("")].contains(newPassword2) }

  /// The field that has the errors of the password rules: Django's `new_password2`, unless only the first one is filled in.
  var ruleField: String { isHalf ? "new_password1" : "new_password2" }

  /// Returns the new password if both fields have it and the policy accepts it, or throws the errors of all fields.
  ///
  /// As in Django, the password is neither stripped nor normalized.
  func clean(for user: UserAttributes, policy: PasswordPolicy) async throws(FormErrors) -> String {
    var errors: [String: [FieldError]] = [:]
    checkLocale(locale, &errors)
    if checkOnly == .wrongType { errors["check_only"] = [FormErrors.noBoolean] }
    let first = cleanPassword(newPassword1, field: "new_password1", &errors)
    let second = isHalf ? first : cleanPassword(newPassword2, field: "new_password2", &errors)
    if let first, let second, !first.isIdentical(to: second) {
      errors["new_password2"] = [FieldError(code: "password_mismatch", LocalizableMessage("The two password fields didn’t match."))]
    } else if let second {
      let broken = await policy.errors(in: second, for: user)
      if !broken.isEmpty { errors[ruleField] = broken }
    }
    guard errors.isEmpty, let second else { throw FormErrors(errors) }
    return second
  }

  private func cleanPassword(_ input: FieldInput, field: String, _ errors: inout [String: [FieldError]]) -> String? {
    switch input {
    case .text(let password) where password.unicodeScalars.contains("\0"): errors[field] = [.nullCharacters]
    case .text(let password) where !password.isEmpty: return password
    case .text, .missing: errors[field] = [.required]
    case .wrongType: errors[field] = [FormErrors.wrongType]
    }
    return nil
  }
}

/// Adds an error unless `locale` is missing or a language tag such as `pt-BR`.
///
/// The longest reasonable tag has 35 characters (RFC 5646 section 4.4.1).
private func checkLocale(_ locale: FieldInput, _ errors: inout [String: [FieldError]]) {
  switch locale {
  case .missing: return
  case .text(let tag) where (1...35).contains(tag.utf8.count) && tag.utf8.allSatisfy(isTagCharacter): return
  case .text, .wrongType: errors["locale"] = [FieldError(code: "invalid", LocalizableMessage("Enter a valid language tag, such as “en” or “pt-BR”."))]
  }
}

private func isTagCharacter(_ byte: UInt8) -> Bool {
  let character = Character(Unicode.Scalar(byte))
  return character.isASCII && (character.isLetter || character.isNumber) || character == "-" || character == "_"
}
