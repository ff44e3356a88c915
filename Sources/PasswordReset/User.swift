public import Credentials
public import Foundation

/// One row of `auth_user`, as far as a reset needs it.
public struct User: Sendable, Equatable {
  public var id: Int64
  public var username: String
  public var email: String
  public var firstName: String
  public var lastName: String
  /// The encoded hash; it may be unusable, damaged or empty.
  public var password: String
  /// As Django prints it, `YYYY-MM-DD HH:MM:SS`; nil if the user never logged in.
  public var lastLogin: String?
  public var isActive: Bool

  public init(
    id: Int64, username: String, email: String, firstName: String = "", lastName: String = "", password: String, lastLogin: String? = nil,
    isActive: Bool = true
  ) {
    self.id = id
    self.username = username
    self.email = email
    self.firstName = firstName
    self.lastName = lastName
    self.password = password
    self.lastLogin = lastLogin
    self.isActive = isActive
  }

  /// Whether a reset mail may go out: active, with a usable password (no LDAP or single-sign-on account) and an address.
  var mayReset: Bool { isActive && !UnusablePassword.matches(password) && !email.isEmpty }

  /// What a token of this user is bound to.
  public var tokenSubject: TokenSubject { TokenSubject(id: id, password: password, lastLogin: lastLogin, email: email) }

  var attributes: UserAttributes { UserAttributes(username: username, firstName: firstName, lastName: lastName, email: email) }
}

/// The rows of `auth_user`.
public protocol UserStore: Sendable {
  /// The users that `identifier` may mean: for an address the equal ones under ASCII case folding (the caller compares precisely),
  /// for a user name the one that has it. Takes the same time however many users there are.
  func users(matching identifier: Identifier) async throws(StoreError) -> [User]

  /// The user with this key; nil if there is none, or its row is damaged.
  func user(id: Int64) async throws(StoreError) -> User?

  /// Puts `encoded` in the place of `user`'s password, if the row is still as `user` was read; else it changes nothing and returns false.
  ///
  /// The database decides the race: of any number of calls for one state of a user, one returns true. The reset's audit row and the
  /// "your password was changed" mail are committed with the change, or not at all.
  func setPassword(_ encoded: String, for user: User, requestID: String, at now: Date) async throws(StoreError) -> Bool
}
