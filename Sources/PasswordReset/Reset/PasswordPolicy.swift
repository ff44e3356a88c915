public import Credentials
public import Text

/// Decides which new passwords are allowed, and encodes them.
public struct PasswordPolicy: Sendable {
  /// The reason why ``encode(_:replacing:)`` returned no encoding.
  public enum EncodingError: Error, Sendable {
    /// The password breaks a rule.
    case refused(FieldError)
    /// The hasher failed.
    case failed(PasswordHashingError)
  }

  private static let unchanged = FieldError(
    code: "password_unchanged", LocalizableMessage("Your new password must be different from your current password."))

  private let hashers: PasswordHashers
  private let validators: [any PasswordValidator]
  private let lookups: [any PasswordLookup]
  private let refusesCurrentPassword: Bool

  /// Creates a policy.
  /// - Parameters:
  ///   - validators: The validators in the order of their errors. A limit of bytes is added if the hasher has one.
  ///   - lookups: The rules that need a file or another server.
  ///   - refusesCurrentPassword: Whether the current password is refused as the new one, which costs another hash.
  public init(
    hashers: PasswordHashers, validators: [any PasswordValidator], lookups: [any PasswordLookup] = [], refusesCurrentPassword: Bool = false
  ) {
    self.hashers = hashers
    self.validators = validators + (hashers.preferred.maximumPasswordLength.map { [MaximumBytesValidator(maximum: $0)] } ?? [])
    self.lookups = lookups
    self.refusesCurrentPassword = refusesCurrentPassword
  }

  /// How the users table writes a hash.
  public var format: PasswordFormat { hashers.format }

  /// The rules for new passwords, in one sentence each.
  public var helpTexts: [LocalizableMessage] {
    validators.map(\.helpText) + lookups.map(\.helpText)
      + (refusesCurrentPassword ? [LocalizableMessage("Your password can’t be the same as your current password.")] : [])
  }

  /// Whether ``refusal(of:replacing:)`` has anything to compare with.
  var comparesHashes: Bool { refusesCurrentPassword }

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

  /// Returns the error if a rule compares `password` with stored hashes and refuses it. It is slow, so never call it on an event loop.
  /// - Parameter current: The stored text that the new one replaces.
  public func refusal(of password: String, replacing current: String) -> FieldError? {
    refusesCurrentPassword && hashers.verify(password, encoded: current) ? Self.unchanged : nil
  }

  /// Returns the text to store for a new password. It is slow, so never call it on an event loop.
  /// - Parameter current: The stored text that the new one replaces.
  public func encode(_ password: String, replacing current: String) throws(EncodingError) -> String {
    if let error = refusal(of: password, replacing: current) { throw .refused(error) }
    do { return try hashers.encode(password) } catch { throw .failed(error) }
  }

  /// Returns whether the stored text `encoded` was made from `password`. It is slow, so never call it on an event loop.
  public func verify(_ password: String, encoded: String) -> Bool { hashers.verify(password, encoded: encoded) }
}
