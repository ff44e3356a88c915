public import Credentials

/// A complete row of `auth_user`, which the commands for users show, import and export.
public struct UserRow: Sendable, Equatable {
  /// The primary key, or `nil` for a new row that gets the next one.
  public var id: UserID?
  /// The user name.
  public var username: String
  /// The email address, which may be empty.
  public var email: String
  /// The first name, which may be empty.
  public var firstName: String
  /// The last name, which may be empty.
  public var lastName: String
  /// The encoded password.
  public var password: String
  /// Whether the user may sign in.
  public var isActive: Bool
  /// Whether the user may use Django's admin site.
  public var isStaff: Bool
  /// Whether the user has all permissions.
  public var isSuperuser: Bool
  /// The last sign-in in UTC, as Django writes it to SQLite, `2026-11-20 22:09:52.123456`, or `nil` if the user never
  /// signed in.
  public var lastLogin: String?
  /// When the user was created, in the format of ``lastLogin``.
  public var dateJoined: String

  /// Creates a row from its values.
  public init(
    id: UserID? = nil, username: String, email: String, firstName: String = "", lastName: String = "", password: String, isActive: Bool = true,
    isStaff: Bool = false, isSuperuser: Bool = false, lastLogin: String? = nil, dateJoined: String
  ) {
    self.id = id
    self.username = username
    self.email = email
    self.firstName = firstName
    self.lastName = lastName
    self.password = password
    self.isActive = isActive
    self.isStaff = isStaff
    self.isSuperuser = isSuperuser
    self.lastLogin = lastLogin
    self.dateJoined = dateJoined
  }
}

/// The result of adding a user.
public enum UserAddition: Sendable, Equatable {
  /// The user was added with this key.
  case added(id: UserID)
  /// A user with the same name, address and, if given, key exists already and was not changed.
  case present
  /// Another user has this name.
  case nameTaken
  /// Another user has this key.
  case keyTaken
}
