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
  var isEligibleForReset: Bool { isActive && !UnusablePassword.matches(password) && !email.isEmpty }

  /// What a token of this user is bound to.
  public var tokenSubject: TokenSubject { TokenSubject(id: id, password: password, lastLogin: lastLogin, email: email) }

  var attributes: UserAttributes { UserAttributes(username: username, firstName: firstName, lastName: lastName, email: email) }
}

/// The rows of `auth_user`.
public protocol UserStore: Sendable {
  /// The users that `identifier` may mean: for an address the equal ones under ASCII case folding (the caller compares precisely),
  /// for a user name the one that has it. Takes the same time however many users there are.
  func users(matching identifier: AccountIdentifier) async throws(StoreError) -> [User]

  /// The user with this key; nil if there is none, or its row is damaged. Takes the same time whether or not there is one.
  func user(id: Int64) async throws(StoreError) -> User?

  /// Makes the change, if the user's row is still as it was read; else it changes nothing and returns false.
  ///
  /// The database decides the race: of any number of calls for one state of a user, one returns true. The audit row and the notice are committed
  /// with the change, or not at all.
  func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> Bool
}

/// A new password for a user.
public struct PasswordChange: Sendable {
  /// As it was read when the change was allowed.
  public var user: User
  /// The new hash.
  public var encoded: String
  /// What the audit says of it.
  public var event: AuditEvent
  public var requestID: String
  /// Whether the user gets the "your password was changed" mail.
  public var isNotified: Bool
  /// The language of that mail, as a tag.
  public var locale: String?

  public init(user: User, encoded: String, event: AuditEvent, requestID: String, isNotified: Bool, locale: String? = nil) {
    self.user = user
    self.encoded = encoded
    self.event = event
    self.requestID = requestID
    self.isNotified = isNotified
    self.locale = locale
  }
}
