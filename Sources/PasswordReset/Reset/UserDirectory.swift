public import Credentials
public import Foundation

/// The users table as the commands for users need it.
public protocol UserDirectory: Sendable {
  /// Returns up to `limit` users in the order of their keys.
  /// - Parameter after: ``UserPage/last`` of the page before, or `nil` for the first page.
  func userPage(_ selection: UserSelection, after id: UserID?, limit: Int) async throws(StoreError) -> UserPage

  /// How the users table holds the users.
  var userMapping: UserMapping { get }

  /// Returns whether the table has rows, damaged ones included.
  func hasUsers() async throws(StoreError) -> Bool

  /// Returns the number of rows, damaged ones included.
  func userCount() async throws(StoreError) -> Int

  /// Adds users in one transaction. It skips users whose name or key is taken, and adds the others. In a table without user
  /// names, the address is the name.
  /// - Returns: for each of the rows, in their order, what happened to it.
  func add(_ rows: [UserRow]) async throws(StoreError) -> [UserAddition]

  /// Changes the columns that make a user active or inactive.
  /// - Parameter changes: see ``UserMapping/assignments(isActive:)``.
  /// - Parameter runsAfterReset: whether what ends with a reset ends with this change, in its transaction.
  /// - Returns: `false` if there is no such user.
  func update(_ id: UserID, _ changes: [ActiveChange], runsAfterReset: Bool) async throws(StoreError) -> Bool
}

extension UserDirectory {
  /// Returns up to `limit` of all users in the order of their keys.
  public func userPage(after id: UserID?, limit: Int) async throws(StoreError) -> UserPage { try await userPage(.all, after: id, limit: limit) }

  /// Returns the user with this name, or `nil` if there is none or the row is damaged.
  public func userRow(username: String) async throws(StoreError) -> UserRow? {
    try await userPage(.username(username), after: nil, limit: 1).rows.first
  }

  /// Adds a user as Django's `create_user` does.
  /// - Returns: the new key, or `nil` if the name is taken.
  public func addUser(username: String, email: String, password: String, at now: Date) async throws(StoreError) -> UserID? {
    let row = UserRow(username: username, email: email, password: password, dateJoined: DjangoTime.text(of: now))
    guard case .added(let id) = try await add([row]).first else { return nil }
    return id
  }
}

/// Selects rows of the users table.
public enum UserSelection: Sendable {
  case all
  /// The user with this name; none if the table has no user names.
  case username(String)
  /// The users with this address, under ASCII case folding.
  case email(String)
  /// The user with this key.
  case id(UserID)
  /// The users whose name, address, first name or last name contains this text, under ASCII case folding.
  case containing(String)
}

/// A part of the users table.
public struct UserPage: Sendable {
  public var rows: [UserRow]
  /// The keys of rows that Django cannot read.
  public var damaged: [UserID]
  /// How many rows were left out because they have no key of the table's kind. The last page of ``UserSelection/all`` also
  /// counts those that no page can contain.
  public var withoutKey: Int
  /// The key after which the next page begins, or `nil` if this page is the last.
  public var last: UserID?

  public init(rows: [UserRow] = [], damaged: [UserID] = [], withoutKey: Int = 0, last: UserID? = nil) {
    self.rows = rows
    self.damaged = damaged
    self.withoutKey = withoutKey
    self.last = last
  }
}

/// What happened to a user that was to be added.
public enum UserAddition: Sendable, Equatable {
  case added(id: UserID)
  /// A user with this name and address (and key, if one was given) exists already and stays unchanged.
  case present
  /// Another user has the name.
  case nameTaken
  /// Another user has the key.
  case keyTaken
}
