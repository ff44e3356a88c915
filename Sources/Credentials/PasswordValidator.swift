import CEmbeddedFiles
public import Text

/// A rule that the value of a field breaks, with the code, message and parameters of Django's `ValidationError`.
public struct FieldError: Error, Sendable, Equatable {
  /// The stable code for programs, such as `password_too_short`.
  public var code: String
  /// The message for people. Its parameters are Django's `params`, from which a frontend can write its own message.
  public var localizableMessage: LocalizableMessage

  /// Creates an error from its code and message.
  public init(code: String, _ message: LocalizableMessage) {
    self.code = code
    localizableMessage = message
  }

  /// The message in English.
  public var message: String { localizableMessage.english }

  /// The error for a field that is missing or empty, as in Django.
  public static let required = FieldError(code: "required", LocalizableMessage("This field is required."))
  /// The error for a value that contains a NUL, as from Django's `ProhibitNullCharactersValidator`.
  public static let nullCharacters = FieldError(code: "null_characters_not_allowed", LocalizableMessage("Null characters are not allowed."))
}

/// The user's data that a password validator may use, which are Django's `DEFAULT_USER_ATTRIBUTES`.
public struct UserAttributes: Sendable, Equatable {
  /// The user name.
  public var username: String
  /// The first name, which may be empty.
  public var firstName: String
  /// The last name, which may be empty.
  public var lastName: String
  /// The email address, which may be empty.
  public var email: String

  /// Creates attributes from the user's stored values.
  public init(username: String, firstName: String, lastName: String, email: String) {
    self.username = username
    self.firstName = firstName
    self.lastName = lastName
    self.email = email
  }
}

/// Checks one rule for new passwords, as a validator in Django's `AUTH_PASSWORD_VALIDATORS`.
///
/// To add a rule, write a type that conforms to this protocol and add a line for it to `PasswordPolicySettings` in the
/// target `App`.
public protocol PasswordValidator: Sendable {
  /// A sentence that explains the rule to the user before they enter a password.
  var helpText: LocalizableMessage { get }

  /// Returns the error if `password` breaks the rule, otherwise `nil`. Lengths are counted in code points, as in
  /// Python.
  func validate(_ password: String, user: UserAttributes) -> FieldError?
}

/// Returns the validators of Django's project template in its order, with a maximum length, which Django does not have.
public func defaultPasswordValidators() -> [any PasswordValidator] {
  [
    UserAttributeSimilarityValidator(), MinimumLengthValidator(), MaximumLengthValidator(), CommonPasswordValidator(), NumericPasswordValidator(),
  ]
}

/// Refuses a password with too few characters, like Django's `MinimumLengthValidator`.
public struct MinimumLengthValidator: PasswordValidator {
  private let minimum: Int

  /// Creates a validator that refuses passwords with fewer than `minimum` code points.
  public init(minimum: Int = 8) { self.minimum = minimum }

  public var helpText: LocalizableMessage {
    LocalizableMessage(
      "Your password must contain at least {min_length} characters.", one: "Your password must contain at least {min_length} character.",
      ["min_length": .int(minimum)], pluralArgument: "min_length")
  }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    guard password.unicodeScalars.count < minimum else { return nil }
    return FieldError(
      code: "password_too_short",
      LocalizableMessage(
        "This password is too short. It must contain at least {min_length} characters.",
        one: "This password is too short. It must contain at least {min_length} character.", ["min_length": .int(minimum)],
        pluralArgument: "min_length"))
  }
}

/// Refuses a password with too many characters. Django has no such validator.
///
/// The limit is far above any passphrase and bounds the work of hashing. A longer password is refused and never
/// truncated.
public struct MaximumLengthValidator: PasswordValidator {
  private let maximum: Int

  /// Creates a validator that refuses passwords with more than `maximum` code points.
  public init(maximum: Int = 1024) { self.maximum = maximum }

  public var helpText: LocalizableMessage {
    LocalizableMessage("Your password must contain at most {max_length} characters.", ["max_length": .int(maximum)], pluralArgument: "max_length")
  }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    guard password.unicodeScalars.count > maximum else { return nil }
    return FieldError(
      code: "password_too_long",
      LocalizableMessage(
        "This password is too long. It must contain at most {max_length} characters.", ["max_length": .int(maximum)], pluralArgument: "max_length"))
  }
}

/// Refuses a password with more bytes than the hasher can take, such as the 72 bytes of bcrypt.
///
/// A longer password is refused and never truncated, because other passwords would match the truncated one.
public struct MaximumBytesValidator: PasswordValidator {
  private let maximum: Int

  /// Creates a validator that refuses passwords with more than `maximum` bytes in UTF-8.
  public init(maximum: Int) { self.maximum = maximum }

  public var helpText: LocalizableMessage {
    LocalizableMessage("Your password must contain at most {max_length} bytes.", ["max_length": .int(maximum)], pluralArgument: "max_length")
  }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    guard password.utf8.count > maximum else { return nil }
    return FieldError(
      code: "password_too_long",
      LocalizableMessage(
        "This password is too long. It must contain at most {max_length} bytes.", ["max_length": .int(maximum)], pluralArgument: "max_length"))
  }
}

/// Refuses a password that has only digits, of any script, like Django's `NumericPasswordValidator`.
public struct NumericPasswordValidator: PasswordValidator {
  /// Creates the validator.
  public init() {}

  public var helpText: LocalizableMessage { LocalizableMessage("Your password can’t be entirely numeric.") }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    guard !password.isEmpty, password.unicodeScalars.allSatisfy(\.isPythonDigit) else { return nil }
    return FieldError(code: "password_entirely_numeric", LocalizableMessage("This password is entirely numeric."))
  }
}

/// Refuses a password that is in a list of common passwords, like Django's `CommonPasswordValidator`.
public struct CommonPasswordValidator: PasswordValidator {
  /// The 19,640 passwords of Django's `common-passwords.txt.gz`, collected by Royce Williams.
  private static let djangoList = {
    let file = commonPasswordsFile()
    return Self.passwords(in: Array(UnsafeBufferPointer(start: file.start, count: file.count)))
  }()

  /// The passwords in UTF-8, because a set of strings would compare by canonical equivalence and Python compares by
  /// code point.
  private let list: Set<[UInt8]>

  /// Creates a validator with Django's list.
  public init() { list = Self.djangoList }

  /// Creates a validator with your own list instead of Django's.
  /// - Parameter list: The passwords in UTF-8, one per line and in lowercase.
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
