public import Credentials
public import Foundation
import GRDB
public import PasswordReset

extension SQLiteStore: UserStore {
  public func users(matching identifier: AccountIdentifier) async throws(StoreError) -> [User] {
    switch identifier {
    case .email(let address): try await rows(.usersByEmail, .text(address), Self.user).compactMap(\.self)
    case .username(let name): try await rows(.usersByUsername, .text(name), Self.user).compactMap(\.self)
    }
  }

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
    WHERE id = ? AND password = ? AND email = ? COLLATE BINARY AND \(loginTime.name)(last_login) IS ? AND is_active = 1
    """

  public func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> [Job]? {
    let user = change.user
    return try await write { db in
      // Everything that the token is bound to must still be as it was when the token was checked. SQLite compares the
      // texts byte by byte.
      try db.execute(
        sql: Self.setPasswordSQL, arguments: [change.newHash, user.id.integer, user.password, user.email, user.lastLogin])
      guard db.changesCount == 1 else { return nil }
      try Self.insert(AuditRecord(change.event, userID: user.id), requestID: change.requestID, at: now, in: db)
      return try change.jobs.map { try Self.insert($0, in: db) }
    }
  }

  public func damagedUser(matching identifier: AccountIdentifier) async throws(StoreError) -> UserID? {
    let (query, text): (UserQuery, String) =
      switch identifier {
      case .email(let address): (.usersByEmail, address)
      case .username(let name): (.usersByUsername, name)
      }
    let damaged = try await rows(query, .text(text)) { row in
      Self.user(row) == nil ? row.integer(UserColumn.id.rawValue).map { UserID($0) } : nil
    }
    return damaged.compactMap(\.self).first
  }

  /// Returns `nil` for a row that Django cannot read, because no guess about an account is safe.
  private static func user(_ row: RawRow) -> User? {
    func text(_ column: UserColumn) -> String? { row.text(column.rawValue) }
    guard let id = row.integer(UserColumn.id.rawValue), let username = text(.username), let email = text(.email), let password = text(.password),
      let lastLogin = row.anyText(UserColumn.lastLogin.rawValue), let time = readLoginTime(lastLogin)
    else { return nil }
    var user = User(
      id: UserID(id), username: username, email: email, firstName: text(.firstName) ?? "", lastName: text(.lastName) ?? "", password: password,
      lastLogin: time)
    user.isActive = row.isTrue(.isActive)
    return user
  }

  /// Returns the time as Django prints it for a token, to the second and without a zone; `.some(nil)` for a value that
  /// Django takes for no time, and `nil` for one that Django cannot read.
  private static func readLoginTime(_ text: String) -> String?? {
    switch DjangoTime.read(text) {
    case .time(let time): .some(time.clock)
    case .noTime: .some(nil)
    case .impossible: nil
    }
  }

  /// The function of SQL that makes a value comparable with ``User/lastLogin``.
  static let loginTime = DatabaseFunction("password_reset_login_time", argumentCount: 1, pure: true) { values in
    let text: String? =
      switch values[0].storage {
      case .int64(let number): String(number)
      case .string(let text): text
      case .blob(let data): String(data: data, encoding: .utf8)
      case .null, .double: nil
      }
    return text.flatMap { readLoginTime($0) ?? nil }
  }
}

extension RawRow {
  /// Returns the flag as Django reads it: only 1 is true.
  func isTrue(_ column: UserColumn) -> Bool { integer(column.rawValue) == 1 }
}
