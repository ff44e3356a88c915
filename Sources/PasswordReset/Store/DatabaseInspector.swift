/// Looks at a database that is not open as a store.
public protocol DatabaseInspector: Sendable {
  /// Checks that this release can use the database, and changes nothing in it.
  ///
  /// - Parameter isThorough: whether to read the whole database in search of damage and of users that Django cannot
  ///   read.
  func inspect(isThorough: Bool) throws(StoreOpenError) -> DatabaseCondition
}

/// What an inspection finds in a database that can be used.
public struct DatabaseCondition: Sendable, Equatable {
  /// Whether migrations are pending.
  public var hasPendingMigrations: Bool
  /// How many rows of the users table Django cannot read; 0 if the inspection was not thorough.
  public var damagedUsers: Int
  /// Whether the site uses django-allauth, whose reset links are of another kind than Django's.
  public var hasAllauth: Bool

  public init(hasPendingMigrations: Bool, damagedUsers: Int = 0, hasAllauth: Bool = false) {
    self.hasPendingMigrations = hasPendingMigrations
    self.damagedUsers = damagedUsers
    self.hasAllauth = hasAllauth
  }
}
