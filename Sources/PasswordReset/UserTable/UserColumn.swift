/// What the service reads or writes in a row of the users table. The raw value is the name of the column in Django's
/// `auth_user`, and the name in `USERS_COLUMNS`.
public enum UserColumn: String, CaseIterable, CodingKey, Sendable {
  // A reset reads these.
  case id, username, email
  case firstName = "first_name"
  case lastName = "last_name"
  case password
  case lastLogin = "last_login"
  case isActive = "is_active"
  // Only the commands for users read these.
  case isStaff = "is_staff"
  case isSuperuser = "is_superuser"
  case dateJoined = "date_joined"

  /// The columns that a reset reads.
  public static let ofReset = Array(allCases.prefix { $0 != .isStaff })

  /// Whether a users table must have the column.
  public var isRequired: Bool { [.id, .email, .password].contains(self) }

  /// Whether the security of resets depends on the column. The service refuses a table that has no such column, unless
  /// `USERS_COLUMNS` says so.
  var isSafeguard: Bool { [.lastLogin, .isActive].contains(self) }

  /// What kind of values the column has.
  public var valueKind: TableColumn.Kind {
    switch self {
    case .id: .other
    case .username, .email, .firstName, .lastName, .password: .text
    case .lastLogin, .dateJoined: .time
    case .isActive, .isStaff, .isSuperuser: .boolean
    }
  }

  /// Names that other frameworks and sites give to the column.
  var commonNames: [String] {
    switch self {
    case .id: ["uuid", "uid", "pk", "user_id", "userid", "guid"]
    case .username: ["user_name", "login", "name", "nickname", "handle", "account"]
    case .email: ["email_address", "mail", "e_mail", "emailaddress", "user_email"]
    case .firstName: ["firstname", "given_name", "forename"]
    case .lastName: ["lastname", "surname", "family_name"]
    case .password:
      ["encrypted_password", "hashed_password", "password_hash", "passwd", "password_digest", "passwordhash", "pw_hash", "crypted_password", "pass"]
    case .lastLogin: ["last_login_at", "last_sign_in_at", "current_sign_in_at", "lastlogin", "last_seen"]
    case .isActive: ["active", "enabled", "is_enabled", "activated"]
    case .isStaff: ["staff", "is_admin", "admin"]
    case .isSuperuser: ["superuser", "is_super_admin"]
    case .dateJoined: ["created_at", "joined_at", "created", "registered_at", "inserted_at"]
    }
  }
}

extension UserColumn {
  /// Names of columns that are true for users who are not active.
  static let namesOfInactive = ["banned", "is_banned", "disabled", "is_disabled", "blocked", "is_blocked", "suspended", "deleted", "is_deleted"]
  /// Names of columns with a time for users who are not active.
  static let namesOfInactiveSince = ["deleted_at", "disabled_at", "banned_at", "banned_until", "deactivated_at", "suspended_at", "locked_at"]
}

/// A column of a table as a store found it.
public struct TableColumn: Sendable, Equatable {
  /// The kinds of values that the service distinguishes.
  public enum Kind: Sendable, Equatable {
    case text, boolean, time, other
  }

  /// The name, not quoted.
  public var name: String
  /// The name of the type in the database.
  public var type: String
  /// The kinds of values that the column can serve for.
  public var kinds: Set<Kind>
  /// The kind of key that the column can be, or `nil` if it can be none.
  public var key: UserKey?
  /// Whether the database computes the value, so that no one can write it.
  public var isGenerated: Bool
  /// Whether a new row needs a value for this column.
  public var needsValue: Bool

  /// Returns whether this is the column's name, byte by byte. Swift takes two spellings of a character for the same text, but
  /// they name different columns.
  public func isNamed(_ name: String) -> Bool { self.name.utf8.elementsEqual(name.utf8) }

  public init(name: String, type: String, kinds: Set<Kind>, key: UserKey?, isGenerated: Bool, needsValue: Bool) {
    self.name = name
    self.type = type
    self.kinds = kinds
    self.key = key
    self.isGenerated = isGenerated
    self.needsValue = needsValue
  }
}
