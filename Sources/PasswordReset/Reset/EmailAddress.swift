public import Credentials
import Text

/// A row of django-allauth's table of addresses.
public struct EmailAddress: Sendable, Equatable {
  /// The address as stored, which allauth writes in lowercase.
  public var email: String
  /// Whether the user has confirmed that the address is theirs.
  public var isVerified: Bool

  /// Creates an address from stored values.
  public init(_ email: String, isVerified: Bool) {
    self.email = email
    self.isVerified = isVerified
  }
}

/// A user who gets a reset email, and the stored address that it is sent to.
struct Recipient: Sendable, Equatable {
  var user: User
  var address: String
}

extension User {
  /// The addresses that allauth's tokens are bound to, or `nil` if the service does not read its table.
  public var addressSet: AddressSet? { addresses.map { AddressSet(email: email, others: $0.map(\.email)) } }

  /// Returns the verified address that equals `address`, compared as allauth does.
  fileprivate func verifiedAddress(_ address: String) -> String? {
    let lowercased = address.pythonLowercased
    return addresses?.first { $0.isVerified && $0.email.isIdentical(to: lowercased) }?.email
  }
}

extension AccountIdentifier {
  /// Returns who gets an email for a request.
  ///
  /// Users who have verified the address come first: if there is one, no one else gets an email, as in allauth. An
  /// address that a user added and has not verified may be a stranger's, so nothing is sent to it, unless it is the one
  /// in the users table.
  func recipients(among users: [User], _ format: PasswordFormat) -> [Recipient] {
    let verified = users.compactMap { user in verifiedAddress(of: user).map { Recipient(user: user, address: $0) } }
    let found = verified.isEmpty ? users.filter(matches).map { Recipient(user: $0, address: $0.email) } : verified
    return found.filter { $0.user.isEligibleForReset(format) && !$0.address.isEmpty }
  }

  private func verifiedAddress(of user: User) -> String? {
    if case .email(let address) = self { user.verifiedAddress(address) } else { nil }
  }
}
