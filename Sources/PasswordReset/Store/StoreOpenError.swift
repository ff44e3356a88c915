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
    /// The users table is missing from a site's database, lacks columns, or cannot be used.
    case foreignUserTable
    /// The settings say that the site uses django-allauth, and its table of addresses is missing or cannot be used.
    case missingAddressTable
    /// An entry of `AFTER_RESET` does not fit the database.
    case unusableAfterReset
    /// The entries of `AFTER_RESET` were tried for a user, and failed.
    case failingAfterReset
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
  /// There is a users table, but the service cannot use it.
  /// - Parameter faults: what is wrong; each begins with the column that it concerns.
  public static func unusableUserTable(_ table: String, faults: [String]) -> Self {
    let list = faults.count == 1 ? faults[0] : "\n" + faults.map { "  - \($0)" }.joined(separator: "\n") + "\n"
    let end = list.hasSuffix("\n") ? "" : [".", "?"].contains(list.last) ? " " : ". "
    return Self(
      .foreignUserTable, "the table \(table) cannot be used: \(list)\(end)Check DATABASE_URL, USERS_TABLE and USERS_COLUMNS. Nothing was changed")
  }

  /// The service cannot change the password of any user.
  public static func unchangeablePassword(_ users: UserMapping, _ fault: PasswordChangeFault) -> Self {
    let column = users.columns[.password] ?? UserColumn.password.rawValue
    let reason: String
    switch fault {
    case .refused(let message): reason = "the database refuses it: \(message)"
    case .ineffective: reason = "no row changes; check the triggers and rules of the table"
    case .altered: reason = "the column then holds another text; check the triggers of the table"
    case .afterReset(let reason): return .failingAfterReset(reason)
    }
    return .unusableUserTable(users.table, faults: ["password: a new hash in the column \(column) was tried, and rolled back; \(reason)"])
  }

  /// There is no table of django-allauth.
  public static let missingAddressTable = Self(
    .missingAddressTable,
    "ALLAUTH is true, and the database has no table \(AddressTable.name); run the site's migrations, or unset ALLAUTH. Nothing was changed")

  /// The table of django-allauth is not as the service needs it.
  public static func unusableAddressTable(reason: String) -> Self {
    Self(
      .missingAddressTable,
      "ALLAUTH is true, and the table \(AddressTable.name) cannot be used: \(reason); the service needs that of django-allauth. Nothing was changed")
  }

  /// The database belongs to a site and has no users table of this name.
  /// - Parameters:
  ///   - candidates: the tables that have the columns of a users table.
  ///   - djangoTable: a table that shows that the site is a Django site.
  public static func missingUserTable(_ table: String, candidates: [String], djangoTable: String?) -> Self {
    let remedy =
      if let candidate = candidates.first {
        "did you mean USERS_TABLE=\(candidate)? docs/users-table.md says how to name its columns"
      } else if let djangoTable {
        "it belongs to a Django site, because it has the table \(djangoTable): run `manage.py migrate` first, or check USERS_TABLE and DATABASE_URL"
      } else {
        "check USERS_TABLE and DATABASE_URL"
      }
    return Self(.foreignUserTable, "the database has no table \(table); \(remedy)")
  }
}

/// Why a password cannot be changed.
public enum PasswordChangeFault: Sendable {
  /// The database's message.
  case refused(String)
  /// The database changes no row, and reports no error.
  case ineffective
  /// A trigger changes what is stored.
  case altered
  /// An entry of `AFTER_RESET` fails, with this reason.
  case afterReset(String)
}
