public import Credentials
public import Foundation
import GRDB
public import PasswordReset

extension SQLiteStore: UserStore {
  public var linkFormat: LinkFormat { users.mapping.linkFormat }

  public func users(matching identifier: AccountIdentifier) async throws(StoreError) -> [User] {
    if users.mapping.usesAllauth { return try await joinedUsers(matching: identifier).users }
    switch identifier {
    case .email(let address): return try await rows(.usersByEmail, .text(address)) { [users] row in Self.user(row, users) }.compactMap(\.self)
    case .username(let name): return try await rows(.usersByUsername, .text(name)) { [users] row in Self.user(row, users) }.compactMap(\.self)
    }
  }

  public var hasUsernames: Bool { users.mapping.hasUsernames }

  public func userID(_ text: String) -> UserID? { users.mapping.key.id(text) }

  public func user(id: UserID) async throws(StoreError) -> User? {
    if users.mapping.usesAllauth { return try await joinedUsers(.userByID, users.parameter(id)).users.first { $0.id == id } }
    return try await rows(.userByID, users.parameter(id)) { [users] row in Self.user(row, users) }.compactMap(\.self).first { $0.id == id }
  }

  public func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> [Job]? {
    let user = change.user
    return try await write(isAlone: !afterReset.isEmpty) { [users, afterReset] db in
      guard try Self.hasSameAddresses(user, users, in: db), try !Self.isCancelled(change, users, in: db) else { return nil }
      try db.cachedStatement(sql: users.setPassword).run(
        .text(change.newHash), users.parameter(user.id), .text(user.password), .text(user.email), RawParameter(user.lastLogin))
      guard db.changesCount == 1 else { return nil }
      try Self.keepFormerPassword(of: change, at: now, in: db)
      let detail = try afterReset.run(for: user.id, of: users, at: now, in: db)
      let record = AuditRecord(change.event, userID: user.id, clientKey: change.clientKey, detail: detail)
      try Self.insert(record, requestID: change.requestID, at: now, in: db)
      return try change.jobs.map { try Self.insert($0, in: db) }
    }
  }

  public func damagedUser(matching identifier: AccountIdentifier) async throws(StoreError) -> UserID? {
    if users.mapping.usesAllauth { return try await joinedUsers(matching: identifier).damaged.first }
    let (query, text): (UserQuery, String) =
      switch identifier {
      case .email(let address): (.usersByEmail, address)
      case .username(let name): (.usersByUsername, name)
      }
    let damaged = try await rows(query, .text(text)) { [users] row in Self.user(row, users) == nil ? users.id(row) : nil }
    return damaged.compactMap(\.self).first
  }

  /// Returns `nil` for a row that Django cannot read, because no guess about an account is safe.
  static func user(_ row: RawRow, _ users: UserStatements) -> User? {
    func text(_ column: UserColumn) -> String? { row.text(column.position) }
    guard let id = users.id(row), let username = text(.username), let email = text(.email), let password = text(.password),
      let lastLogin = row.anyText(UserColumn.lastLogin.position), let time = readLoginTime(lastLogin)
    else { return nil }
    var user = User(
      id: id, username: username, email: email, firstName: text(.firstName) ?? "", lastName: text(.lastName) ?? "", password: password,
      lastLogin: time)
    user.isActive = row.isTrue(.isActive)
    user.linksCancelledThrough = row.integer(UserStatements.cancellationColumn).flatMap(TokenTime.init(milliseconds:))
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
  func isTrue(_ column: UserColumn) -> Bool { integer(column.position) == 1 }
}
