public import Credentials
import GRDB
public import PasswordReset

extension SQLiteStore: UserDirectory {
  public func userPage(_ selection: UserSelection, after id: UserID?, limit: Int) async throws(StoreError) -> UserPage {
    let (condition, value) = Self.condition(selection)
    return try await read { db in
      let rows = try db.cachedStatement(
        sql: "SELECT \(UserColumn.list) FROM auth_user WHERE id > ?1 AND typeof(id) = 'integer' AND \(condition) ORDER BY id LIMIT ?2"
      ).rows([.integer(id?.integer ?? .min), .integer(Int64(limit)), value]) { row in (row.integer(UserColumn.id.rawValue), Self.userRow(row)) }
      var page = UserPage()
      for case let (id?, row) in rows {
        page.last = UserID(id)
        if let row { page.rows.append(row) } else { page.damaged.append(UserID(id)) }
      }
      if page.last == nil, case .all = selection {
        page.withoutKey = try Int.fetchOne(db, sql: "SELECT count(*) FROM auth_user WHERE typeof(id) <> 'integer'") ?? 0
      }
      return page
    }
  }

  private static func condition(_ selection: UserSelection) -> (String, RawParameter) {
    switch selection {
    case .all: ("?3 IS NULL", .null)
    case .username(let name): ("username = ?3", .text(name))
    case .email(let address): ("email = ?3 COLLATE NOCASE", .text(address))
    case .id(let id): ("id = ?3", id.integer.map(RawParameter.integer) ?? .null)
    case .containing(let text):
      ("instr(lower(username || char(10) || email || char(10) || first_name || ' ' || last_name), lower(?3)) > 0", .text(text))
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
    try db.cachedStatement(sql: "SELECT \(UserColumn.list) FROM auth_user WHERE username = ?").rows([.text(username)], userRow)
      .compactMap(\.self).first
  }

  /// Returns how many rows Django cannot read.
  static func damagedUsers(in db: Database) throws -> Int {
    try db.makeStatement(sql: "SELECT \(UserColumn.list) FROM auth_user").rows([]) { userRow($0) == nil }.count(where: \.self)
  }

  /// Returns `nil` for a row that Django cannot read.
  private static func userRow(_ row: RawRow) -> UserRow? {
    func text(_ column: UserColumn) -> String? { row.text(column.rawValue) }
    func time(_ column: UserColumn) -> String? {
      row.anyText(column.rawValue).flatMap { DjangoTime.read($0) == .impossible ? nil : $0 }
    }
    guard let id = row.integer(UserColumn.id.rawValue), let username = text(.username), let email = text(.email), let firstName = text(.firstName),
      let lastName = text(.lastName), let password = text(.password), let lastLogin = time(.lastLogin), let dateJoined = time(.dateJoined)
    else { return nil }
    var user = UserRow(
      id: UserID(id), username: username, email: email, firstName: firstName, lastName: lastName, password: password, dateJoined: dateJoined)
    user.isActive = row.isTrue(.isActive)
    user.isStaff = row.isTrue(.isStaff)
    user.isSuperuser = row.isTrue(.isSuperuser)
    if !row.isNull(UserColumn.lastLogin.rawValue) { user.lastLogin = lastLogin }
    return user
  }
}

extension UserRow {
  /// Returns whether the existing user of this name is the one that `other` would add. The password may have changed
  /// since.
  fileprivate func isSameUser(as other: UserRow) -> Bool { (other.id == nil || id == other.id) && email == other.email }
}
