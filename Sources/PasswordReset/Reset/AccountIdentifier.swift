import Credentials
import Text

/// Whom a reset is asked for, as typed, after the form's checks.
public enum AccountIdentifier: Sendable, Equatable {
  /// A mail address.
  case email(String)
  /// A user name, in NFKC as Django stores it.
  case username(String)

  /// Whether `user` is really meant. For an address this is Django's `_unicode_ci_compare`: equal under NFKC and case folding.
  func matches(_ user: User) -> Bool {
    switch self {
    case .email(let address): address.caselessKey == user.email.caselessKey
    case .username(let name): name.isIdentical(to: user.username)
    }
  }
}

extension IdentifierHasher {
  /// What stands for an address or user name where it must not be kept.
  func key(for identifier: AccountIdentifier) -> String {
    switch identifier {
    case .email(let text), .username(let text): key(for: text)
    }
  }
}
