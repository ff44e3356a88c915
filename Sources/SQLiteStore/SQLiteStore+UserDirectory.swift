public import Credentials
public import Foundation
import GRDB
public import PasswordReset

/// What the commands for users ask of the store.
extension SQLiteStore {
  /// A stretch of the table.
  public struct Page: Sendable {
    public var records: [UserRow]
    /// The keys of rows that no release of Django wrote.
    public var damaged: [Int64]
    /// How many rows have a key that is no whole number; told with the last page.
    public var withoutKey = 0
    /// Where the next page begins; nil after the last.
    public var last: Int64?
  }

  private static let recordColumns =
    "id, username, email, first_name, last_name, password, is_active, is_staff, is_superuser, last_login, date_joined"

  /// Users in the order of their keys, from behind `id` on.
  public func page(after id: Int64, limit: Int) async throws(StoreError) -> Page {
    try await read { db in
      let rows = try Row.fetchAll(
        db.cachedStatement(sql: "SELECT \(Self.recordColumns) FROM auth_user WHERE id > ? AND typeof(id) = 'integer' ORDER BY id LIMIT ?"),
        arguments: [id, limit])
      var page = Page(records: [], damaged: [], last: nil)
      for row in rows {
        guard let id = row.integer("id") else { continue }
        page.last = id
        if let record = Self.record(row) { page.records.append(record) } else { page.damaged.append(id) }
      }
      if page.last == nil {
        page.withoutKey = try Int.fetchOne(db, sql: "SELECT count(*) FROM auth_user WHERE typeof(id) <> 'integer'") ?? 0
      }
      return page
    }
  }

  /// The user of that name; nil if there is none, or its row is damaged.
  public func record(username: String) async throws(StoreError) -> UserRow? {
    try await read { db in try Self.fetch(db, where: "username = ?", username) }
  }

  /// Whether there is a user, damaged or not.
  public func hasUsers() async throws(StoreError) -> Bool {
    try await read { db in try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM auth_user)") ?? false }
  }

  /// How many users there are.
  public func userCount() async throws(StoreError) -> Int {
    try await read { db in try Int.fetchOne(db, sql: "SELECT count(*) FROM auth_user") ?? 0 }
  }

  /// Adds a user as Django's `create_user` does.
  /// - Returns: the new key; nil if the user name is taken.
  public func addUser(username: String, email: String, password: String, at now: Date) async throws(StoreError) -> UserID? {
    let record = UserRow(username: username, email: email, password: password, dateJoined: Self.djangoTime(now))
    guard case .added(let id) = try await add([record]).first else { return nil }
    return id
  }

  /// Adds users, all in one transaction. Those whose name or key is taken are left out, and the rest goes in.
  public func add(_ records: [UserRow]) async throws(StoreError) -> [UserAddition] {
    try await write { db in try records.map { try Self.add($0, in: db) } }
  }

  /// Lets a user log in and reset, or not.
  /// - Returns: false if there is no such user.
  public func setActive(_ isActive: Bool, username: String) async throws(StoreError) -> Bool {
    try await write { db in
      try db.execute(sql: "UPDATE auth_user SET is_active = ? WHERE username = ?", arguments: [isActive, username])
      return db.changesCount == 1
    }
  }

  /// Writes a line of the audit, for what a command did.
  public func record(_ audit: AuditRecord, requestID: String, at now: Date) async throws(StoreError) {
    try await write { db in try Self.insert(audit, requestID: requestID, at: now, in: db) }
  }

  /// `2026-11-20 22:09:52.123000` in UTC, as Django writes a time to SQLite.
  public static func djangoTime(_ date: Date) -> String {
    let text = date.ISO8601Format(.init(includingFractionalSeconds: true, timeZone: .gmt))
    return text.replacingOccurrences(of: "T", with: " ").replacingOccurrences(of: "Z", with: "000")
  }

  private static func add(_ record: UserRow, in db: Database) throws -> UserAddition {
    let insert = try db.cachedStatement(
      sql: "INSERT INTO auth_user (\(recordColumns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
    try insert.execute(arguments: [
      record.id?.integer, record.username, record.email, record.firstName, record.lastName, record.password, record.isActive, record.isStaff,
      record.isSuperuser, record.lastLogin, record.dateJoined,
    ])
    if db.changesCount == 1 { return .added(id: UserID(db.lastInsertedRowID)) }
    guard let namesake = try fetch(db, where: "username = ?", record.username) else {
      let isNameTaken = try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM auth_user WHERE username = ?)", arguments: [record.username])
      return isNameTaken == true ? .nameTaken : .keyTaken
    }
    return namesake.isSame(as: record) ? .present : .nameTaken
  }

  private static func fetch(_ db: Database, where condition: String, _ value: String) throws -> UserRow? {
    try Row.fetchOne(db.cachedStatement(sql: "SELECT \(recordColumns) FROM auth_user WHERE \(condition)"), arguments: [value]).flatMap(record)
  }

  private static func record(_ row: Row) -> UserRow? {
    func text(_ column: String) -> String? { row.text(column) }
    func flag(_ column: String) -> Bool? { row.integer(column).map { $0 != 0 } }
    guard let id = row.integer("id"), let username = text("username"), let email = text("email"), let firstName = text("first_name"),
      let lastName = text("last_name"), let password = text("password"), let isActive = flag("is_active"), let isStaff = flag("is_staff"),
      let isSuperuser = flag("is_superuser"), let dateJoined = text("date_joined"), row.isNull("last_login") || text("last_login") != nil
    else { return nil }
    return UserRow(
      id: UserID(id), username: username, email: email, firstName: firstName, lastName: lastName, password: password, isActive: isActive,
      isStaff: isStaff,
      isSuperuser: isSuperuser, lastLogin: text("last_login"), dateJoined: dateJoined)
  }
}

extension UserRow {
  /// Whether a user of that name is the one that `other` would add, whatever has become of the password meanwhile.
  fileprivate func isSame(as other: UserRow) -> Bool { (other.id == nil || id == other.id) && email == other.email }
}
