public import Credentials
public import Foundation
import GRDB
public import PasswordReset

extension SQLiteStore: UserStore {
  fileprivate static let columns = "id, username, email, first_name, last_name, password, last_login, is_active"

  /// The places of the columns.
  private enum Column: CInt {
    case id, username, email, firstName, lastName, password, lastLogin, isActive
  }

  public func users(matching identifier: AccountIdentifier) async throws(StoreError) -> [User] {
    switch identifier {
    case .email(let address): try await rows(.usersByEmail, .text(address), Self.user).compactMap(\.self)
    case .username(let name): try await rows(.usersByUsername, .text(name), Self.user).compactMap(\.self)
    }
  }

  /// The user with the key, or else with the next lower one, or with the lowest: whatever is asked for, one user is searched for and read, as the time must
  /// not tell.
  fileprivate static let userOrNearest = """
    SELECT \(columns) FROM auth_user
    WHERE id = ifnull((SELECT max(id) FROM auth_user WHERE id <= ?1), (SELECT min(id) FROM auth_user))
    """

  public func userID(_ text: String) -> UserID? {
    let id = UserID(text)
    return id.integer.flatMap { $0 >= 0 ? id : nil }
  }

  public func user(id: UserID) async throws(StoreError) -> User? {
    guard let key = id.integer else { return nil }
    return try await rows(.userByID, .integer(key), Self.user).compactMap(\.self).first { $0.id == id }
  }

  static let setPasswordSQL = """
    UPDATE auth_user SET password = ?
    WHERE id = ? AND password = ? AND email = ? COLLATE BINARY AND replace(substr(last_login, 1, 19), 'T', ' ') IS ? AND is_active
    """

  public func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> [Job]? {
    let user = change.user
    return try await write { db in
      // Everything the token is bound to must still be as it was when the token was checked. Text is compared by its bytes.
      try db.execute(
        sql: Self.setPasswordSQL, arguments: [change.newHash, user.id.integer, user.password, user.email, user.lastLogin])
      guard db.changesCount == 1 else { return nil }
      try Self.insert(AuditRecord(change.event, userID: user.id), requestID: change.requestID, at: now, in: db)
      return try change.jobs.map { try Self.insert($0, in: db) }
    }
  }

  /// Nil for a damaged row: no guess about an account is a safe one.
  private static func user(_ row: RawRow) -> User? {
    func text(_ column: Column) -> String? { row.text(column.rawValue) }
    func number(_ column: Column) -> Int64? { row.integer(column.rawValue) }
    guard let id = number(.id), let username = text(.username), let email = text(.email), let password = text(.password),
      let isActive = number(.isActive), let lastLogin = lastLogin(row)
    else { return nil }
    return User(
      id: UserID(id), username: username, email: email, firstName: text(.firstName) ?? "", lastName: text(.lastName) ?? "", password: password,
      lastLogin: lastLogin, isActive: isActive != 0)
  }

  /// The column as Django prints it for a token: to the second, without a zone. Nil for a value that is no time.
  private static func lastLogin(_ row: RawRow) -> String?? {
    if row.isNull(Column.lastLogin.rawValue) { return .some(nil) }
    guard let text = row.text(Column.lastLogin.rawValue) else { return nil }
    var time = Array(text.utf8.prefix(19))
    guard time.count == 19 else { return nil }
    if time[10] == UInt8(ascii: "T") { time[10] = UInt8(ascii: " ") }
    let isTime = zip(time, "0000-00-00 00:00:00".utf8).allSatisfy { byte, shape in
      shape == UInt8(ascii: "0") ? (0x30...0x39).contains(byte) : byte == shape
    }
    return isTime ? .some(String(decoding: time, as: UTF8.self)) : nil
  }
}

/// The queries for users, of which each quick connection keeps the compiled form.
enum UserQuery {
  case userByID, usersByEmail, usersByUsername

  var sql: String {
    switch self {
    case .userByID: SQLiteStore.userOrNearest
    // SQLite's NOCASE folds ASCII only, as the LIKE does that Django's `iexact` becomes; the index serves it, which it could not do for LIKE.
    case .usersByEmail: "SELECT \(SQLiteStore.columns) FROM auth_user WHERE email = ?1 COLLATE NOCASE ORDER BY id"
    case .usersByUsername: "SELECT \(SQLiteStore.columns) FROM auth_user WHERE username = ?1 ORDER BY id"
    }
  }
}
