public import Credentials

/// A complete row of the users table, which the commands for users show, import and export.
///
/// A value is empty, false or `nil` if the table has no column for it, and then it is not written either.
///
/// Its times are texts that ``DjangoTime`` reads, or that it takes for none. A store whose column has a type for times
/// converts them.
public struct UserRow: Sendable, Equatable {
  /// The key, or `nil` for a row to be added under the next key.
  public var id: UserID?
  /// The user name, which is empty if the users table has none.
  public var username: String
  /// The email address, which may be empty.
  public var email: String
  /// The first name, which may be empty.
  public var firstName: String
  /// The last name, which may be empty.
  public var lastName: String
  /// The password hash exactly as stored.
  public var password: String
  /// Whether the user may sign in.
  public var isActive = true
  /// Whether the user may use Django's admin site.
  public var isStaff = false
  /// Whether the user has all permissions.
  public var isSuperuser = false
  /// The time of the last sign-in, or `nil` if the user never signed in.
  public var lastLogin: String?
  /// When the user was created, in the format of ``lastLogin``; empty if that is not known.
  public var dateJoined: String

  /// Creates the row of an active user who has no further rights and never signed in.
  public init(
    id: UserID? = nil, username: String, email: String, firstName: String = "", lastName: String = "", password: String, dateJoined: String
  ) {
    self.id = id
    self.username = username
    self.email = email
    self.firstName = firstName
    self.lastName = lastName
    self.password = password
    self.dateJoined = dateJoined
  }
}
