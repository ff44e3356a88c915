public import Foundation
import GRDB
public import PasswordReset

extension SQLiteStore: UserStore {
  private static let columns = """
    id, username, email, first_name, last_name, password, last_login, is_active,
    instr(CAST(username || email || password AS BLOB), x'00') > 0 AS has_null
    """

  /// The places of the columns, by which they are found sooner than by name.
  private enum Column: Int {
    case id, username, email, firstName, lastName, password, lastLogin, isActive, hasNull, isSomebody
  }

  public func users(matching identifier: Identifier) async throws(StoreError) -> [User] {
    // SQLite's NOCASE folds ASCII only, as the LIKE does that Django's `iexact` becomes; the index serves it, which it could not do for LIKE.
    let (condition, value) =
      switch identifier {
      case .email(let address): ("email = ? COLLATE NOCASE", address)
      case .username(let name): ("username = ?", name)
      }
    return try await readAtOnce { db in
      let rows = try Row.fetchCursor(
        db.cachedStatement(sql: "SELECT \(Self.columns) FROM auth_user WHERE \(condition) ORDER BY id"), arguments: [value])
      return try Array(rows.compactMap(Self.user))
    }
  }

  /// Where there is no user, a row of the usual lengths is found and read in its place: the time must not tell.
  private static let userOrNobody = """
    SELECT \(columns), true AS is_somebody FROM auth_user WHERE id = ?1
    UNION ALL
    SELECT \(columns), false FROM (
      SELECT 0 AS id, 'nobody' AS username, 'nobody@example.com' AS email, 'No' AS first_name, 'Body' AS last_name,
        'pbkdf2_sha256$1500000$0123456789abcdefghijkl$0123456789abcdefghijklmnopqrstuvwxyzABCDEFG=' AS password,
        '2001-01-01 00:00:00.000000' AS last_login, 1 AS is_active)
    WHERE NOT EXISTS (SELECT 1 FROM auth_user WHERE id = ?1)
    """

  public func user(id: Int64) async throws(StoreError) -> User? {
    try await readAtOnce { db in
      let rows = try Row.fetchCursor(db.cachedStatement(sql: Self.userOrNobody), arguments: [id])
      guard let row = try rows.next() else { return nil }
      let user = Self.user(row)
      return row[Column.isSomebody.rawValue] ? user : nil
    }
  }

  public func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> Bool {
    let user = change.user
    return try await write { db in
      // Everything the token is bound to must still be as it was when the token was checked. Text is compared by its bytes.
      try db.execute(
        sql: """
          UPDATE auth_user SET password = ?
          WHERE id = ? AND password = ? AND email = ? COLLATE BINARY AND replace(substr(last_login, 1, 19), 'T', ' ') IS ? AND is_active
          """, arguments: [change.encoded, user.id, user.password, user.email, user.lastLogin])
      guard db.changesCount == 1 else { return false }
      try Self.insert(AuditRecord(change.event, userID: user.id), requestID: change.requestID, at: now, in: db)
      if change.isNotified, !user.email.isEmpty { try Self.insertNotice(of: change, at: now, in: db) }
      return true
    }
  }

  /// Nil for a damaged row: no guess about an account is a safe one. A text is read up to its first NUL, which would make it another.
  private static func user(_ row: Row) -> User? {
    func value(_ column: Column) -> DatabaseValue { row[column.rawValue] }
    func text(_ column: Column) -> String? { if case .string(let text) = value(column).storage { text } else { nil } }
    func number(_ column: Column) -> Int64? { if case .int64(let number) = value(column).storage { number } else { nil } }
    guard number(.hasNull) == 0, let id = number(.id), let username = text(.username), let email = text(.email), let password = text(.password),
      let isActive = number(.isActive), let lastLogin = lastLogin(value(.lastLogin))
    else { return nil }
    return User(
      id: id, username: username, email: email, firstName: text(.firstName) ?? "", lastName: text(.lastName) ?? "", password: password,
      lastLogin: lastLogin, isActive: isActive != 0)
  }

  /// The column as Django prints it for a token: to the second, without a zone. Nil for a value that is no time.
  private static func lastLogin(_ stored: DatabaseValue) -> String?? {
    if stored.isNull { return .some(nil) }
    guard case .string(let text) = stored.storage else { return nil }
    var time = Array(text.utf8.prefix(19))
    guard time.count == 19 else { return nil }
    if time[10] == UInt8(ascii: "T") { time[10] = UInt8(ascii: " ") }
    let isTime = zip(time, "0000-00-00 00:00:00".utf8).allSatisfy { byte, shape in
      shape == UInt8(ascii: "0") ? (0x30...0x39).contains(byte) : byte == shape
    }
    return isTime ? .some(String(decoding: time, as: UTF8.self)) : nil
  }
}
