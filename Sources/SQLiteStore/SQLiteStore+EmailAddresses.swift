import Credentials
import GRDB
import PasswordReset
import Text

// What the store does with django-allauth's table of addresses.

extension SQLiteStore {
  /// The positions of the address and of whether it is verified, after those of the user.
  private static let emailColumn = UserStatements.cancellationColumn + 1
  private static let verifiedColumn = emailColumn + 1

  func joinedUsers(_ query: UserQuery, _ parameter: RawParameter) async throws(StoreError) -> JoinedUsers {
    JoinedUsers(try await rows(query, parameter) { [users] row in Self.joinedRow(row, users) })
  }

  func joinedUsers(matching identifier: AccountIdentifier) async throws(StoreError) -> JoinedUsers {
    switch identifier {
    case .email(let address):
      try await joinedUsers(.usersByVerifiedAddress, .text(address.pythonLowercased)) + joinedUsers(.usersByEmail, .text(address))
    case .username(let name): try await joinedUsers(.usersByUsername, .text(name))
    }
  }

  private static func joinedRow(_ row: RawRow, _ users: UserStatements) -> JoinedUsers.Row {
    let id = users.id(row)
    if row.isNull(emailColumn) { return JoinedUsers.Row(id: id, user: user(row, users), address: nil) }
    guard let email = row.text(emailColumn) else { return JoinedUsers.Row(id: id, user: nil, address: nil) }
    return JoinedUsers.Row(id: id, user: user(row, users), address: EmailAddress(email, isVerified: row.integer(verifiedColumn) == 1))
  }

  /// Returns whether the addresses that the user's token is bound to are those that the database has now. The caller's
  /// transaction must be able to write, so that they stay the same until it ends.
  static func hasSameAddresses(_ user: User, _ users: UserStatements, in db: Database) throws -> Bool {
    guard users.mapping.usesAllauth else { return true }
    let emails = try db.cachedStatement(sql: UserStatements.addresses).rows([users.parameter(user.id)]) { row in row.text(0) }
    guard let addressSet = user.addressSet, !emails.contains(nil) else { return false }
    return AddressSet(email: user.email, others: emails.compactMap(\.self)) == addressSet
  }
}
