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
    WHERE id = ? AND password = ? AND email = ? COLLATE BINARY AND replace(substr(last_login, 1, 19), 'T', ' ') IS ? AND is_active
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

  /// Returns `nil` for a damaged row, because no guess about an account is safe.
  private static func user(_ row: RawRow) -> User? {
    func text(_ column: UserColumn) -> String? { row.text(column.rawValue) }
    func number(_ column: UserColumn) -> Int64? { row.integer(column.rawValue) }
    guard let id = number(.id), let username = text(.username), let email = text(.email), let password = text(.password),
      let isActive = number(.isActive), let lastLogin = lastLogin(row)
    else { return nil }
    return User(
      id: UserID(id), username: username, email: email, firstName: text(.firstName) ?? "", lastName: text(.lastName) ?? "", password: password,
      lastLogin: lastLogin, isActive: isActive != 0)
  }

  /// Returns the time as Django prints it for a token, to the second and without a zone; `.some(nil)` for NULL, and
  /// `nil` for a value that is not a time.
  private static func lastLogin(_ row: RawRow) -> String?? {
    if row.isNull(UserColumn.lastLogin.rawValue) { return .some(nil) }
    guard let text = row.text(UserColumn.lastLogin.rawValue) else { return nil }
    var time = Array(text.utf8.prefix(19))
    guard time.count == 19 else { return nil }
    if time[10] == UInt8(ascii: "T") { time[10] = UInt8(ascii: " ") }
    let isTime = zip(time, "0000-00-00 00:00:00".utf8).allSatisfy { byte, shape in
      shape == UInt8(ascii: "0") ? (0x30...0x39).contains(byte) : byte == shape
    }
    return isTime ? .some(String(decoding: time, as: UTF8.self)) : nil
  }
}
