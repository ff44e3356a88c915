import Credentials
import Text

/// The email address or user name that a reset is requested for, after validation.
public enum AccountIdentifier: Sendable, Equatable {
  /// An email address as the client sent it.
  case email(String)
  /// A user name in Unicode's form NFKC, as Django stores it.
  case username(String)

  /// Returns whether this identifier means `user`. Addresses are compared like Django's `_unicode_ci_compare`, under
  /// NFKC and case folding.
  func matches(_ user: User) -> Bool {
    switch self {
    case .email(let address): address.caselessKey == user.email.caselessKey
    case .username(let name): name.isIdentical(to: user.username)
    }
  }
}

extension IdentifierHasher {
  /// Returns the key of an address or user name, for records that must not contain the address or name itself.
  func key(for identifier: AccountIdentifier) -> String {
    switch identifier {
    case .email(let text), .username(let text): key(for: text)
    }
  }
}
