public import Credentials
public import Text

/// Decides which new passwords are allowed, and encodes them.
///
/// A password is allowed if ``errors(in:for:)`` returns no error and ``checkReuse(of:current:former:)`` throws none.
public struct PasswordPolicy: Sendable {
  private static let unchanged = FieldError(
    code: "password_unchanged", LocalizableMessage("Your new password must be different from your current password."))

  private let hashers: PasswordHashers
  private let validators: [any PasswordValidator]
  private let lookups: [any PasswordLookup]
  private let refusesCurrentPassword: Bool
  private let historyLength: Int

  /// Creates a policy.
  /// - Parameters:
  ///   - validators: The validators in the order of their errors. A limit of bytes is added if the hasher has one.
  ///   - lookups: The rules that need a file or another server.
  ///   - refusesCurrentPassword: Whether the current password is refused as the new one, which costs another hash.
  ///   - historyLength: How many of the user's last passwords are refused as the new one, the current one included. Each costs a hash.
  public init(
    hashers: PasswordHashers, validators: [any PasswordValidator], lookups: [any PasswordLookup] = [], refusesCurrentPassword: Bool = false,
    historyLength: Int = 0
  ) {
    self.hashers = hashers
    self.validators = validators + (hashers.preferred.maximumPasswordLength.map { [MaximumBytesValidator(maximum: $0)] } ?? [])
    self.lookups = lookups
    self.refusesCurrentPassword = refusesCurrentPassword
    self.historyLength = historyLength
  }

  /// How the users table writes a hash.
  public var format: PasswordFormat { hashers.format }

  /// The rules for new passwords, in one sentence each.
  public var helpTexts: [LocalizableMessage] {
    var texts = validators.map(\.helpText) + lookups.map(\.helpText)
    if historyLength > 0 {
      texts.append(
        LocalizableMessage(
          "Your password can’t be one of your last {count} passwords.", one: "Your password can’t be the same as your current password.",
          ["count": .int(historyLength)], pluralArgument: "count"))
    } else if refusesCurrentPassword {
      texts.append(LocalizableMessage("Your password can’t be the same as your current password."))
    }
    return texts
  }

  /// Returns the errors in `password` that can be found without hashing it.
  ///
  /// A password that breaks a rule of the validators is refused in any case, so it is not looked up: nothing about it leaves the process.
  public func errors(in password: String, for user: UserAttributes) async -> [FieldError] {
    var errors = validators.compactMap { $0.validate(password, user: user) }
    guard errors.isEmpty else { return errors }
    for lookup in lookups {
      if let error = await lookup.validate(password, user: user) { errors.append(error) }
    }
    return errors
  }

  /// Whether ``checkReuse(of:current:former:)`` compares the password with others.
  public var checksReuse: Bool { refusesCurrentPassword || historyLength > 0 }

  /// How many passwords before the current one are compared with a new one.
  public var formerPasswordCount: Int { max(0, historyLength - 1) }

  /// Returns how many former passwords to keep when the stored text `current` is replaced: 0 if no password matches it.
  public func formerPasswordsToKeep(replacing current: String) -> Int { hashers.recognizes(current) ? formerPasswordCount : 0 }

  /// Throws if the password is the user's current or a former one and the rules refuse that. It is slow, so never call it on an
  /// event loop.
  /// - Parameters:
  ///   - current: The stored text that the new password replaces.
  ///   - former: The stored texts before it, the newest first. At most ``formerPasswordCount`` are compared.
  public func checkReuse(of password: String, current: String, former: [String]) throws(FieldError) {
    guard checksReuse else { return }
    if hashers.verify(password, encoded: current) { throw refusesCurrentPassword ? Self.unchanged : reused }
    if former.prefix(formerPasswordCount).contains(where: { hashers.verify(password, encoded: $0) }) { throw reused }
  }

  private var reused: FieldError {
    FieldError(
      code: "password_reused",
      LocalizableMessage(
        "This password is one of your last {count} passwords. Choose one that you have not used recently.",
        one: "This is your current password. Choose a different one.", ["count": .int(historyLength)], pluralArgument: "count"))
  }

  /// Returns the text to store for a new password. It is slow, so never call it on an event loop.
  public func encode(_ password: String) throws(PasswordHashingError) -> String { try hashers.encode(password) }

  /// Returns whether the stored text `encoded` was made from `password`. It is slow, so never call it on an event loop.
  public func verify(_ password: String, encoded: String) -> Bool { hashers.verify(password, encoded: encoded) }
}
