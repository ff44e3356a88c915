/// Looks at a database that is not open as a store.
public protocol DatabaseInspector: Sendable {
  /// Checks that this release can use the database, and changes nothing in it.
  ///
  /// - Parameter isThorough: whether to read the whole database in search of damage and of users that Django cannot
  ///   read.
  func inspect(isThorough: Bool) throws(StoreOpenError) -> DatabaseCondition

  /// Changes the password of an existing user, and rolls that back. It throws if a constraint or a trigger lets no password
  /// be changed, or changes it to another text.
  ///
  /// It tries some of the users, because a trigger may refuse only others. It tries none if the database is locked or cannot be
  /// written at the moment.
  /// - Parameter specimen: the new password: a text like those that the service stores.
  func tryPasswordChange(to specimen: String) throws(StoreOpenError)
}

/// What an inspection finds in a database that can be used.
public struct DatabaseCondition: Sendable, Equatable {
  /// Whether migrations are pending.
  public var hasPendingMigrations: Bool
  /// How the users table holds the users, or `nil` if there is none yet.
  public var users: UserMapping?
  /// How many rows of the users table cannot be read; 0 if the inspection was not thorough.
  public var damagedUsers: Int
  /// Whether the site uses django-allauth, whose reset links are of another kind than Django's.
  public var hasAllauth: Bool
  /// What the operator should change in the database or its server.
  public var risks: [DatabaseRisk]

  public init(hasPendingMigrations: Bool, users: UserMapping?, damagedUsers: Int = 0, hasAllauth: Bool = false, risks: [DatabaseRisk] = []) {
    self.hasPendingMigrations = hasPendingMigrations
    self.users = users
    self.damagedUsers = damagedUsers
    self.hasAllauth = hasAllauth
    self.risks = risks
  }
}

/// Something about a database that can be used, and that is slow or unsafe. Only the store knows its database, so it writes
/// the texts.
public struct DatabaseRisk: Sendable, Equatable {
  public enum Kind: Sendable {
    /// There is no index for look-ups by address.
    case missingEmailIndex
    /// A setting of the database server can lose what was accepted.
    case unsafeServer
    /// The database accepts no writes at the moment.
    case readOnly
    /// The database's role can do more than the service needs.
    case excessivePrivileges
    /// The clocks of the database server and of this machine differ.
    case clockDifference
    /// A well-known package has tokens that stay valid after a reset.
    case unendedTokens
  }

  public var kind: Kind
  public var message: String
  public var hint: String

  public init(_ kind: Kind, _ message: String, hint: String) {
    self.kind = kind
    self.message = message
    self.hint = hint
  }
}
