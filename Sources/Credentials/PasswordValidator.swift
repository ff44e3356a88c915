public import Text

/// One rule a field breaks: Django's `ValidationError`, with its code, message and parameters.
public struct FieldError: Error, Sendable, Equatable {
  /// Stable, for programs: `password_too_short`.
  public var code: String
  /// For people; its parameters are Django's `params`, so that a frontend can word its own.
  public var phrase: LocalizableMessage

  public init(code: String, _ phrase: LocalizableMessage) {
    self.code = code
    self.phrase = phrase
  }

  /// In English.
  public var message: String { phrase.english }

  /// Django's error for a field that is missing or empty.
  public static let required = FieldError(code: "required", LocalizableMessage("This field is required."))
  /// Django's `ProhibitNullCharactersValidator`.
  public static let nullCharacters = FieldError(code: "null_characters_not_allowed", LocalizableMessage("Null characters are not allowed."))
}

/// What a rule may know of the user whose password is set: Django's `DEFAULT_USER_ATTRIBUTES`.
public struct UserAttributes: Sendable, Equatable {
  public var username: String
  public var firstName: String
  public var lastName: String
  public var email: String

  public init(username: String, firstName: String, lastName: String, email: String) {
    self.username = username
    self.firstName = firstName
    self.lastName = lastName
    self.email = email
  }
}

/// One rule for new passwords: a validator of Django's `AUTH_PASSWORD_VALIDATORS`. A rule of your own is a type that conforms to this and a line
/// in `PasswordRules` of the target `App`.
public protocol PasswordValidator: Sendable {
  /// The rule in a sentence, shown before the user types.
  var helpText: LocalizableMessage { get }

  /// The rule that `password` breaks, or nil. Lengths count code points, as Python does.
  func validate(_ password: String, user: UserAttributes) -> FieldError?
}

/// The validators of Django's project template, in its order, and a maximum that Django lacks.
public func defaultPasswordValidators() -> [any PasswordValidator] {
  [
    UserAttributeSimilarityValidator(), MinimumLengthValidator(), MaximumLengthValidator(), CommonPasswordValidator(), NumericPasswordValidator(),
  ]
}

/// Django's `MinimumLengthValidator`.
public struct MinimumLengthValidator: PasswordValidator {
  private let minimum: Int

  public init(minimum: Int = 8) { self.minimum = minimum }

  public var helpText: LocalizableMessage {
    LocalizableMessage(
      "Your password must contain at least {min_length} characters.", singular: "Your password must contain at least {min_length} character.",
      ["min_length": .int(minimum)], countedBy: "min_length")
  }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    guard password.unicodeScalars.count < minimum else { return nil }
    return FieldError(
      code: "password_too_short",
      LocalizableMessage(
        "This password is too short. It must contain at least {min_length} characters.",
        singular: "This password is too short. It must contain at least {min_length} character.", ["min_length": .int(minimum)],
        countedBy: "min_length"))
  }
}

/// Ours: Django has no maximum. Far above any pass phrase, it bounds what a stranger makes us hash; a longer one is refused, never cut.
public struct MaximumLengthValidator: PasswordValidator {
  private let maximum: Int

  public init(maximum: Int = 1024) { self.maximum = maximum }

  public var helpText: LocalizableMessage {
    LocalizableMessage("Your password must contain at most {max_length} characters.", ["max_length": .int(maximum)], countedBy: "max_length")
  }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    guard password.unicodeScalars.count > maximum else { return nil }
    return FieldError(
      code: "password_too_long",
      LocalizableMessage(
        "This password is too long. It must contain at most {max_length} characters.", ["max_length": .int(maximum)], countedBy: "max_length"))
  }
}

/// For a hasher that takes no more bytes than so many: bcrypt's 72. A longer password is refused, as cutting it would make other passwords match.
public struct MaximumBytesValidator: PasswordValidator {
  private let maximum: Int

  public init(maximum: Int) { self.maximum = maximum }

  public var helpText: LocalizableMessage {
    LocalizableMessage("Your password must contain at most {max_length} bytes.", ["max_length": .int(maximum)], countedBy: "max_length")
  }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    guard password.utf8.count > maximum else { return nil }
    return FieldError(
      code: "password_too_long",
      LocalizableMessage(
        "This password is too long. It must contain at most {max_length} bytes.", ["max_length": .int(maximum)], countedBy: "max_length"))
  }
}

/// Django's `NumericPasswordValidator`: digits of every script count.
public struct NumericPasswordValidator: PasswordValidator {
  public init() {}

  public var helpText: LocalizableMessage { LocalizableMessage("Your password can’t be entirely numeric.") }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    guard !password.isEmpty, password.unicodeScalars.allSatisfy(\.isPythonDigit) else { return nil }
    return FieldError(code: "password_entirely_numeric", LocalizableMessage("This password is entirely numeric."))
  }
}

/// Django's `CommonPasswordValidator`, with its list.
public struct CommonPasswordValidator: PasswordValidator {
  /// Django's `common-passwords.txt.gz`, unpacked: 19,640 passwords, collected by Royce Williams.
  private static let djangoList = Self.passwords(in: PackageResources.common_passwords_txt)

  /// In UTF-8, as a set of strings compares by canonical equivalence, and Python by code point.
  private let list: Set<[UInt8]>

  public init() { list = Self.djangoList }

  /// - Parameter list: passwords of your own in UTF-8, one a line and in lower case, in the place of Django's.
  public init(list: [UInt8]) { self.list = Self.passwords(in: list) }

  private static func passwords(in text: [UInt8]) -> Set<[UInt8]> {
    Set(text.split(separator: UInt8(ascii: "\n")).lazy.map { Array(String(decoding: $0, as: UTF8.self).stripped.utf8) })
  }

  public var helpText: LocalizableMessage { LocalizableMessage("Your password can’t be a commonly used password.") }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    guard list.contains(Array(password.pythonLowercased.stripped.utf8)) else { return nil }
    return FieldError(code: "password_too_common", LocalizableMessage("This password is too common."))
  }
}
