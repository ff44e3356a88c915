public import Credentials
public import Foundation

/// A user of the site, as far as a reset needs it.
public struct User: Sendable, Equatable {
  /// The primary key.
  public var id: UserID
  /// The user name, which is empty if the users table has none.
  public var username: String
  /// The email address, which may be empty.
  public var email: String
  /// The first name, which may be empty.
  public var firstName: String
  /// The last name, which may be empty.
  public var lastName: String
  /// The hash exactly as stored; it may be unusable, damaged or empty.
  public var password: String
  /// The last sign-in as Django prints it, `YYYY-MM-DD HH:MM:SS`, or `nil` if the user never signed in.
  public var lastLogin: String?
  /// Whether the user may sign in.
  public var isActive = true
  /// The user's rows in django-allauth's table of addresses, or `nil` if the service does not read that table.
  public var addresses: [EmailAddress]?
  /// The last cancelled second: a link with this time or an earlier one is dead. `nil` if no links were cancelled.
  public var linksCancelledThrough: TokenTime?

  /// Creates an active user from stored values.
  public init(
    id: UserID, username: String, email: String, firstName: String = "", lastName: String = "", password: String, lastLogin: String? = nil
  ) {
    self.id = id
    self.username = username
    self.email = email
    self.firstName = firstName
    self.lastName = lastName
    self.password = password
    self.lastLogin = lastLogin
  }

  /// Returns whether the user may get a reset email: active, with a usable password (no LDAP or single-sign-on account).
  func isEligibleForReset(_ format: PasswordFormat) -> Bool { isActive && !format.isUnusable(password) }

  /// The state that a token of this user is bound to.
  public var tokenSubject: TokenSubject {
    TokenSubject(
      id: id, password: password, lastLogin: lastLogin, email: email, addresses: addressSet, cancelledThrough: linksCancelledThrough)
  }

  var attributes: UserAttributes { UserAttributes(username: username, firstName: firstName, lastName: lastName, email: email) }
}

/// The users of the site, as far as a reset needs them.
public protocol UserStore: PasswordHistoryStore {
  /// Whether the users table has user names. If not, a user can only be found by the address.
  var hasUsernames: Bool { get }

  /// Whose links the service makes. Users have ``User/addresses`` exactly if the links are allauth's.
  var linkFormat: LinkFormat { get }

  /// Returns the key that `text` names, or `nil` unless the text is the canonical form of a key in this table. It reads
  /// nothing.
  func userID(_ text: String) -> UserID?

  /// Returns the users that `identifier` may mean, the oldest first, in a time that does not depend on the number of
  /// users.
  ///
  /// For an address these are the users whose addresses are equal under ASCII case folding, which the caller compares
  /// precisely. Before them come those who have its lowercase spelling as a verified address in allauth's table, also the
  /// oldest first. For a user name it is the user with that name.
  func users(matching identifier: AccountIdentifier) async throws(StoreError) -> [User]

  /// Returns the key of a user that `identifier` may mean and whose row is damaged, or `nil` if there is none.
  func damagedUser(matching identifier: AccountIdentifier) async throws(StoreError) -> UserID?

  /// Returns the user with this key, or `nil` if there is none or its row is damaged. It takes the same time whether or
  /// not there is one.
  func user(id: UserID) async throws(StoreError) -> User?

  /// Sets a password if the user's row and ``User/addressSet`` are still as they were read, and the link is not cancelled.
  /// Otherwise it changes nothing and returns `nil`.
  ///
  /// The database decides the race: of any number of calls for one state of a user, one succeeds. The audit record, the
  /// former password and the jobs are committed with the change, or not at all.
  /// - Returns: the change's jobs, as they were added to the outbox.
  func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> [Job]?

  /// Makes links of a user dead, together with the audit record and the jobs. It reads and changes no user.
  ///
  /// The database decides the race with ``setPassword(_:at:)``: when this has returned, no dead link sets a password. A later
  /// cancellation stays in force if an earlier one is committed after it.
  ///
  /// A link that was made after a cancellation in the same second has a time after it. So another cancellation in that second moves
  /// the time on by a second, up to a minute in total, because links with times far ahead would live too long.
  /// - Returns: the cancellation's jobs, as they were added to the outbox.
  func cancelLinks(_ cancellation: LinkCancellation, at now: Date) async throws(StoreError) -> [Job]
}

/// A new password for a user, and what is committed with it.
public struct PasswordChange: Sendable {
  /// The user as read when the change was allowed.
  public var user: User
  /// The text to store for the new password.
  public var newHash: String
  /// The event that the audit records.
  public var event: AuditEvent
  /// The time of the link that allows the change, or `nil` if no link does.
  public var linkTime: TokenTime?
  /// The `X-Request-Id` of the request that causes the change.
  public var requestID: String
  /// The keyed hash of the client's network, for the audit.
  public var clientKey: String?
  /// The jobs that follow, such as the notice that the password was changed.
  public var jobs: [NewJob]
  /// How many former passwords the user has afterwards, the replaced one included; older ones are deleted. With 0, the
  /// change adds and deletes none.
  public var formerPasswordsToKeep = 0

  /// Creates a change of the password of `user`.
  public init(user: User, newHash: String, event: AuditEvent, requestID: String, jobs: [NewJob]) {
    self.user = user
    self.newHash = newHash
    self.event = event
    self.requestID = requestID
    self.jobs = jobs
  }
}
