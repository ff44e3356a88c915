/// Why a database cannot be used.
///
/// The store writes the message, because only the store knows its database. The kind is the same for every store, so
/// that a command can choose an exit code and a finding's number by it.
public struct StoreOpenError: Error, Sendable, CustomStringConvertible {
  public enum Kind: Sendable {
    /// The database cannot be opened or written, or it does not keep a safety setting.
    case unusable
    /// The database server cannot be reached, or does not accept writes at the moment; a later attempt may succeed.
    case unreachable
    /// A connection pooler gives each transaction another connection.
    case sharedConnections
    /// The database's role may not do what the service needs.
    case missingPrivilege
    /// Another program has locked the database; a later attempt may succeed.
    case locked
    /// A transaction was interrupted. The next process that may write to the database rolls it back.
    case unfinishedTransaction
    case damaged
    /// A newer release wrote the schema.
    case newerSchema
    /// The users table is not Django's, is missing from a site's database, or cannot be used.
    case foreignUserTable
    /// The database library lacks a feature that our tables need.
    case outdatedLibrary
  }

  public var kind: Kind
  /// The message for the operator, with what to do.
  public var description: String

  public init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }
}

// The texts that are the same for every store.
extension StoreOpenError {
  /// There is an `auth_user` that is not Django's.
  public static func foreignUserTable(missing: [String]) -> Self {
    Self(.foreignUserTable, "the table auth_user is not Django's: it has no column \(missing.joined(separator: ", ")); check DATABASE_URL")
  }

  /// There is an `auth_user`, but the service cannot use it.
  public static func unusableUserTable(reason: String) -> Self {
    Self(
      .foreignUserTable,
      "the table auth_user cannot be used: \(reason); the service needs the auth_user of django.contrib.auth. Nothing was changed")
  }
}
