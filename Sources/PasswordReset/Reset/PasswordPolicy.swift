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
  let validators: [any PasswordValidator]
  private let refusesCurrentPassword: Bool

  /// Creates a policy.
  /// - Parameters:
  ///   - validators: The validators in the order of their errors. A limit of bytes is added if the hasher has one.
  ///   - refusesCurrentPassword: Whether the current password is refused as the new one, which costs another hash.
  public init(hashers: PasswordHashers, validators: [any PasswordValidator], refusesCurrentPassword: Bool = false) {
    self.hashers = hashers
    self.validators = validators + (hashers.preferred.maximumPasswordLength.map { [MaximumBytesValidator(maximum: $0)] } ?? [])
    self.refusesCurrentPassword = refusesCurrentPassword
  }

  /// How the users table writes a hash.
  public var format: PasswordFormat { hashers.format }

  /// The rules for new passwords, in one sentence each.
  public var helpTexts: [LocalizableMessage] {
    validators.map(\.helpText) + (refusesCurrentPassword ? [LocalizableMessage("Your password can’t be the same as your current password.")] : [])
  }

  /// Returns the errors of the validators for `password`. It does not hash the password.
  public func errors(in password: String, for user: UserAttributes) -> [FieldError] { validators.compactMap { $0.validate(password, user: user) } }

  /// Returns the text to store for a new password. It is slow, so never call it on an event loop.
  /// - Parameter current: The stored text that the new one replaces.
  public func encode(_ password: String, replacing current: String) throws(EncodingError) -> String {
    if refusesCurrentPassword, hashers.verify(password, encoded: current) { throw .refused(Self.unchanged) }
    do { return try hashers.encode(password) } catch { throw .failed(error) }
  }

  /// Returns whether the stored text `encoded` was made from `password`. It is slow, so never call it on an event loop.
  public func verify(_ password: String, encoded: String) -> Bool { hashers.verify(password, encoded: encoded) }
}
