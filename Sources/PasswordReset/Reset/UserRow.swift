public import Credentials

/// A whole row of `auth_user`, as the commands for users show, import and export it.
public struct UserRow: Sendable, Equatable {
  /// The key; nil for a row to be added under the next one.
  public var id: UserID?
  public var username: String
  public var email: String
  public var firstName: String
  public var lastName: String
  /// The encoded hash.
  public var password: String
  public var isActive: Bool
  public var isStaff: Bool
  public var isSuperuser: Bool
  /// As Django writes a time to SQLite, in UTC: `2026-11-20 22:09:52.123456`. Nil if the user never logged in.
  public var lastLogin: String?
  public var dateJoined: String

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

/// What became of a user that was to be added.
public enum UserAddition: Sendable, Equatable {
  case added(id: UserID)
  /// The user is there already, under that name and address (and key, if one was given), and is left as it is.
  case present
  /// Another user has that name, or that key.
  case nameTaken, keyTaken
}
