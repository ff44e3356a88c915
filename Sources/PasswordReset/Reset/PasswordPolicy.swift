public import Credentials
public import Text

/// What passwords may be set, and how they are kept.
public struct PasswordPolicy: Sendable {
  private static let unchanged = FieldError(
    code: "password_unchanged", LocalizableMessage("Your new password must be different from your current password."))

  private let hashers: PasswordHashers
  let validators: [any PasswordValidator]
  private let refusesCurrentPassword: Bool

  /// - Parameters:
  ///   - validators: in the order of their errors. One more comes of itself if the hasher takes only so many bytes.
  ///   - refusesCurrentPassword: whether the present password is refused as the new one. It costs a hash more.
  public init(hashers: PasswordHashers, validators: [any PasswordValidator], refusesCurrentPassword: Bool = false) {
    self.hashers = hashers
    self.validators = validators + (hashers.preferred.maximumPasswordLength.map { [MaximumBytesValidator(maximum: $0)] } ?? [])
    self.refusesCurrentPassword = refusesCurrentPassword
  }

  /// The rules for new passwords, a sentence each.
  public var rules: [LocalizableMessage] {
    validators.map(\.helpText) + (refusesCurrentPassword ? [LocalizableMessage("Your password can’t be the same as your current password.")] : [])
  }

  /// What `password` breaks of the rules that cost nothing to check.
  public func errors(in password: String, for user: UserAttributes) -> [FieldError] { validators.compactMap { $0.validate(password, user: user) } }

  /// The encoding of a new password, or the rule that it breaks. Slow: never call it on an event loop.
  /// - Parameter current: the encoding that it takes the place of.
  public func encode(_ password: String, replacing current: String) throws(PasswordHashingError) -> Result<String, FieldError> {
    if refusesCurrentPassword, hashers.verify(password, encoded: current) { return .failure(Self.unchanged) }
    return .success(try hashers.preferred.encode(password))
  }

  /// Whether `password` is the one behind `encoded`. Slow.
  public func verify(_ password: String, encoded: String) -> Bool { hashers.verify(password, encoded: encoded) }
}
