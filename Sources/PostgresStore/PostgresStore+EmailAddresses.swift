import Credentials
import PasswordReset
import Text

// What the store does with django-allauth's table of addresses.

extension PostgresStore {
  func joinedUsers(matching identifier: AccountIdentifier) async throws(StoreError) -> JoinedUsers {
    let found = joined(try await rows(identifier))
    guard case .email(let address) = identifier else { return found }
    return joined(try await read(Command(users.byVerifiedAddress, address.pythonLowercased))) + found
  }

  /// Returns the users in rows that end with an address, and whether it is verified.
  func joined(_ rows: Rows) -> JoinedUsers {
    let emailColumn = UserStatements.cancellationColumn + 1
    return JoinedUsers(
      rows.map { row in
        let address = row.text(emailColumn).map { EmailAddress($0, isVerified: row.isTrue(emailColumn + 1)) }
        return JoinedUsers.Row(id: users.id(row), user: Self.user(row, users), address: address)
      })
  }

  /// The values of the parameters by which ``UserSQL/hasSameAddresses(ofKey:)`` compares the user's addresses.
  static func addressValues(of user: User) -> [String?] { [AddressSet.own(user.email), user.addressSet?.text] }
}
