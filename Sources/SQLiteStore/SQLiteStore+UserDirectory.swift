public import Credentials
import GRDB
public import PasswordReset

extension SQLiteStore: UserDirectory {
  public func userPage(after id: UserID?, limit: Int) async throws(StoreError) -> UserPage {
    try await read { db in
      let rows = try Row.fetchAll(
        db.cachedStatement(sql: "SELECT \(UserColumn.list) FROM auth_user WHERE id > ? AND typeof(id) = 'integer' ORDER BY id LIMIT ?"),
        arguments: [id?.integer ?? .min, limit])
      var page = UserPage()
      for row in rows {
        guard let id = row.integer(UserColumn.id.name).map({ UserID($0) }) else { continue }
        page.last = id
        if let row = Self.userRow(row) { page.rows.append(row) } else { page.damaged.append(id) }
      }
      if page.last == nil {
        page.withoutKey = try Int.fetchOne(db, sql: "SELECT count(*) FROM auth_user WHERE typeof(id) <> 'integer'") ?? 0
      }
      return page
    }
  }

  public func userRow(username: String) async throws(StoreError) -> UserRow? {
    try await read { db in try Self.userRow(username: username, in: db) }
  }

  public func hasUsers() async throws(StoreError) -> Bool {
    try await read { db in try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM auth_user)") ?? false }
  }

  public func userCount() async throws(StoreError) -> Int {
    try await read { db in try Int.fetchOne(db, sql: "SELECT count(*) FROM auth_user") ?? 0 }
  }

  public func add(_ rows: [UserRow]) async throws(StoreError) -> [UserAddition] {
    try await write { db in try rows.map { try Self.add($0, in: db) } }
  }

  public func setActive(_ isActive: Bool, username: String) async throws(StoreError) -> Bool {
    try await write { db in
      try db.execute(sql: "UPDATE auth_user SET is_active = ? WHERE username = ?", arguments: [isActive, username])
      return db.changesCount == 1
    }
  }

  private static func add(_ row: UserRow, in db: Database) throws -> UserAddition {
    let insert = try db.cachedStatement(
      sql: """
        INSERT INTO auth_user (\(UserColumn.list)) VALUES (\(databaseQuestionMarks(count: UserColumn.allCases.count))) ON CONFLICT DO NOTHING
        """)
    try insert.execute(arguments: [
      row.id?.integer, row.username, row.email, row.firstName, row.lastName, row.password, row.lastLogin, row.isActive, row.isStaff,
      row.isSuperuser, row.dateJoined,
    ])
    if db.changesCount == 1 { return .added(id: UserID(db.lastInsertedRowID)) }
    guard let namesake = try userRow(username: row.username, in: db) else {
      let isNameTaken = try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM auth_user WHERE username = ?)", arguments: [row.username])
      return isNameTaken == true ? .nameTaken : .keyTaken
    }
    return namesake.isSameUser(as: row) ? .present : .nameTaken
  }

  private static func userRow(username: String, in db: Database) throws -> UserRow? {
    try Row.fetchOne(db.cachedStatement(sql: "SELECT \(UserColumn.list) FROM auth_user WHERE username = ?"), arguments: [username])
      .flatMap(userRow)
  }

  /// Returns `nil` for a damaged row.
  private static func userRow(_ row: Row) -> UserRow? {
    func text(_ column: UserColumn) -> String? { row.text(column.name) }
    func flag(_ column: UserColumn) -> Bool? { row.integer(column.name).map { $0 != 0 } }
    guard let id = row.integer(UserColumn.id.name), let username = text(.username), let email = text(.email), let firstName = text(.firstName),
      let lastName = text(.lastName), let password = text(.password), let isActive = flag(.isActive), let isStaff = flag(.isStaff),
      let isSuperuser = flag(.isSuperuser), let dateJoined = text(.dateJoined), row.isNull(UserColumn.lastLogin.name) || text(.lastLogin) != nil
    else { return nil }
    return UserRow(
      id: UserID(id), username: username, email: email, firstName: firstName, lastName: lastName, password: password, isActive: isActive,
      isStaff: isStaff, isSuperuser: isSuperuser, lastLogin: text(.lastLogin), dateJoined: dateJoined)
  }
}

extension UserRow {
  /// Returns whether the existing user of this name is the one that `other` would add. The password may have changed
  /// since.
  fileprivate func isSameUser(as other: UserRow) -> Bool { (other.id == nil || id == other.id) && email == other.email }
}
