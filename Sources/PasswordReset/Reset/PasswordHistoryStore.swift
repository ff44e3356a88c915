public import Credentials

/// The former passwords of users, as their stored texts. ``UserStore/setPassword(_:at:)`` adds them.
public protocol PasswordHistoryStore: Sendable {
  /// Returns up to `limit` former passwords of a user, the newest first.
  func formerPasswords(of id: UserID, limit: Int) async throws(StoreError) -> [String]

  /// Returns up to `limit` users who have former passwords, in an order that does not change.
  /// - Parameter after: The last user of the call before, or `nil` for the first users.
  func usersWithFormerPasswords(after id: UserID?, limit: Int) async throws(StoreError) -> [UserID]

  /// Deletes all former passwords of a user.
  func deleteFormerPasswords(of id: UserID) async throws(StoreError)
}
