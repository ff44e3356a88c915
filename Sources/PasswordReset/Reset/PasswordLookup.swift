public import Credentials
public import Text

/// Checks one rule for new passwords that needs a file or another server, unlike a ``PasswordValidator``, which only computes.
public protocol PasswordLookup: Sendable {
  /// A sentence that explains the rule to the user before they enter a password.
  var helpText: LocalizableMessage { get }

  /// Returns the error if `password` breaks the rule, otherwise `nil`. It may wait, but must not block the calling thread.
  func validate(_ password: String, user: UserAttributes) async -> FieldError?
}
