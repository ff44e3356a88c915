public import Credentials
public import Foundation
public import PasswordReset

extension PostgresStore: UserStore {
  public var linkFormat: LinkFormat { users.mapping.linkFormat }

  public func users(matching identifier: AccountIdentifier) async throws(StoreError) -> [User] {
    if users.mapping.usesAllauth { return try await joinedUsers(matching: identifier).users }
    return try await rows(identifier).map { Self.user($0, users) }.compactMap(\.self)
  }

  public func damagedUser(matching identifier: AccountIdentifier) async throws(StoreError) -> UserID? {
    if users.mapping.usesAllauth { return try await joinedUsers(matching: identifier).damaged.first }
    return try await rows(identifier).map { row in Self.user(row, users) == nil ? users.id(row) : nil }.compactMap(\.self).first
  }

  public var hasUsernames: Bool { users.mapping.hasUsernames }

  public func userID(_ text: String) -> UserID? { users.mapping.key.id(text) }

  public func user(id: UserID) async throws(StoreError) -> User? {
    guard let key = users.keyText(id) else { return nil }
    let rows = try await readByKey(Command(users.byID, key))
    if users.mapping.usesAllauth { return joined(rows).users.first { $0.id == id } }
    return rows.map { Self.user($0, users) }.compactMap(\.self).first { $0.id == id }
  }

  public func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> [Job]? {
    let user = change.user
    let keepsHistory = change.formerPasswordsToKeep > 0
    var command = try Command(
      keepsHistory ? users.setPasswordKeepingHistory : users.setPassword, change.newHash, users.keyText(user.id), user.password, user.email,
      user.lastLogin, now.milliseconds, change.event.rawValue, user.id.text, change.requestID, JobDocument.json(change.jobs), change.clientKey,
      change.linkTime?.milliseconds)
    if users.mapping.usesAllauth { command.values += Self.addressValues(of: user) }
    if keepsHistory { command.values.append(change.formerPasswordsToKeep.postgresText) }
    let followUp = afterReset(for: user.id, at: now, isMade: { $0[0].count > 0 }) { detail in
      Self.insertion(
        of: AuditLine(
          AuditRecord(change.event, userID: user.id, clientKey: change.clientKey, detail: detail), requestID: change.requestID, at: now))
    }
    let rows = try await writeUsers([command] + notification(of: change.jobs), followUp: followUp)[0]
    // A row for each job, or one row with NULL if there are none; no row if nothing was changed.
    guard rows.count > 0 else { return nil }
    return Self.stored(change.jobs, rows)
  }

  /// Returns the jobs with the ids in the rows.
  static func stored(_ jobs: [NewJob], _ rows: Rows) -> [Job] {
    zip(jobs, rows.map { $0.integer(0) }).compactMap { job, id in id.map { job.stored(as: $0) } }
  }

  func rows(_ identifier: AccountIdentifier) async throws(StoreError) -> Rows {
    switch identifier {
    case .email(let address): try await read(Command(users.byEmail, address))
    case .username(let name): try await read(Command(users.byUsername, name))
    }
  }

  /// Returns `nil` for a row that Django cannot read, because no guess about an account is safe.
  static func user(_ row: Row, _ users: UserStatements) -> User? {
    guard let id = users.id(row), let username = row.text(1), let email = row.text(2), let password = row.text(5),
      let lastLogin = StoredTime.read(row.text(6))
    else { return nil }
    var user = User(
      id: id, username: username, email: email, firstName: row.text(3) ?? "", lastName: row.text(4) ?? "", password: password,
      lastLogin: lastLogin?.clock)
    user.isActive = row.isTrue(7)
    user.linksCancelledThrough = row.integer(UserStatements.cancellationColumn).flatMap(TokenTime.init(milliseconds:))
    return user
  }
}

/// A time as ``UserSQL/expression(_:_:)`` prints it.
enum StoredTime {
  /// Returns `.some(nil)` for NULL, and `nil` for a time outside the years 1 to 9999, which Django cannot read.
  static func read(_ text: String?) -> DjangoTime?? {
    guard let text else { return .some(nil) }
    guard text.hasSuffix(" AD"), case .time(let time) = DjangoTime.read(String(text.dropLast(3))) else { return nil }
    return time
  }
}
