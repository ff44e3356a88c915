public import Credentials
import Foundation
import GRDB
public import PasswordReset

extension SQLiteStore: UserDirectory {
  public var userMapping: UserMapping { users.mapping }

  public func userPage(_ selection: UserSelection, after id: UserID?, limit: Int) async throws(StoreError) -> UserPage {
    let (condition, value) = users.condition(selection)
    let key = users.mapping.quoted(.id)
    let isAfter = id == nil ? "?1 IS NULL" : "\(key) > ?1"
    let sql = "\(users.row) WHERE \(isAfter) AND typeof(\(key)) = \(users.keyType) AND \(condition) ORDER BY \(key) LIMIT ?2"
    return try await read { [users] db in
      let parameters = [id.map(users.pageStart) ?? .null, .integer(Int64(limit)), value]
      let rows = try db.cachedStatement(sql: sql).rows(parameters) { row in
        (text: row.anyText(UserColumn.id.position), id: users.id(row), user: Self.userRow(row, users))
      }
      var page = UserPage()
      for row in rows {
        page.last = row.id ?? row.text.map { UserID($0) }
        if let user = row.user { page.rows.append(user) } else if let id = row.id { page.damaged.append(id) } else { page.withoutKey += 1 }
      }
      if page.last == nil, case .all = selection { page.withoutKey += try Self.countWithoutKey(users, in: db) }
      return page
    }
  }

  private static func countWithoutKey(_ users: UserStatements, in db: Database) throws -> Int {
    let sql = "SELECT count(*) FROM \(users.table) WHERE typeof(\(users.mapping.quoted(.id))) <> \(users.keyType)"
    return try Int.fetchOne(db, sql: sql) ?? 0
  }

  public func hasUsers() async throws(StoreError) -> Bool {
    try await read { [users] db in try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM \(users.table))") ?? false }
  }

  public func userCount() async throws(StoreError) -> Int {
    try await read { [users] db in try Int.fetchOne(db, sql: "SELECT count(*) FROM \(users.table)") ?? 0 }
  }

  public func add(_ rows: [UserRow]) async throws(StoreError) -> [UserAddition] {
    try await write { [users] db in try rows.map { try Self.add($0, users, in: db) } }
  }

  public func update(_ id: UserID, _ changes: [ActiveChange], runsAfterReset: Bool) async throws(StoreError) -> Bool {
    let assignments = changes.map(\.assignment).joined(separator: ", ")
    return try await write(isAlone: runsAfterReset && !afterReset.isEmpty) { [users, afterReset] db in
      let statement = try db.makeStatement(sql: "UPDATE \(users.table) SET \(assignments) WHERE \(users.mapping.quoted(.id)) = ?1")
      try statement.run(users.parameter(id))
      guard db.changesCount == 1 else { return false }
      if runsAfterReset { _ = try afterReset.run(for: id, of: users, at: Date(), in: db) }
      return true
    }
  }

  private static func add(_ row: UserRow, _ users: UserStatements, in db: Database) throws -> UserAddition {
    if let namesake = try namesake(of: row, users, in: db) { return namesake.isSameUser(as: row) ? .present : .nameTaken }
    let values = users.values(of: row)
    let columns = values.map(\.column.quotedIdentifier).joined(separator: ", ")
    let sql = """
      INSERT INTO \(users.table) (\(columns)) VALUES (\(databaseQuestionMarks(count: values.count))) ON CONFLICT DO NOTHING
      RETURNING \(users.mapping.quoted(.id))
      """
    let added = try db.cachedStatement(sql: sql).rows(values.map(\.value)) { row in users.id(row) }
    if let id = added.first { return id.map(UserAddition.added) ?? .keyTaken }
    return try isNameTaken(row, users, in: db) ? .nameTaken : .keyTaken
  }

  /// Returns the user that has the name of `row`, or the address in a table without names.
  private static func namesake(of row: UserRow, _ users: UserStatements, in db: Database) throws -> UserRow? {
    let sql = "\(users.row) WHERE \(users.hasName)"
    return try db.cachedStatement(sql: sql).rows([.text(users.mapping.name(of: row))]) { row in userRow(row, users) }.compactMap(\.self).first
  }

  /// Returns whether a row, which may be damaged, has the name of `row`.
  private static func isNameTaken(_ row: UserRow, _ users: UserStatements, in db: Database) throws -> Bool {
    let sql = "SELECT EXISTS (SELECT 1 FROM \(users.table) WHERE \(users.hasName))"
    return try Bool.fetchOne(db, sql: sql, arguments: [users.mapping.name(of: row)]) ?? false
  }

  /// Returns how many rows Django cannot read.
  static func damagedUsers(_ users: UserStatements, in db: Database) throws -> Int {
    try db.makeStatement(sql: users.row).rows([]) { userRow($0, users) == nil }.count(where: \.self)
  }

  /// Returns `nil` for a row that Django cannot read.
  private static func userRow(_ row: RawRow, _ users: UserStatements) -> UserRow? {
    func text(_ column: UserColumn) -> String? { row.text(column.position) }
    func time(_ column: UserColumn) -> String? {
      row.anyText(column.position).flatMap { DjangoTime.read($0) == .impossible ? nil : $0 }
    }
    guard let id = users.id(row), let username = text(.username), let email = text(.email), let firstName = text(.firstName),
      let lastName = text(.lastName), let password = text(.password), let lastLogin = time(.lastLogin), let dateJoined = time(.dateJoined)
    else { return nil }
    var user = UserRow(
      id: id, username: username, email: email, firstName: firstName, lastName: lastName, password: password, dateJoined: dateJoined)
    user.isActive = row.isTrue(.isActive)
    user.isStaff = row.isTrue(.isStaff)
    user.isSuperuser = row.isTrue(.isSuperuser)
    if !row.isNull(UserColumn.lastLogin.position) { user.lastLogin = lastLogin }
    return user
  }
}

extension UserRow {
  /// Returns whether the existing user of this name is the one that `other` would add. The password may have changed
  /// since.
  fileprivate func isSameUser(as other: UserRow) -> Bool { (other.id == nil || id == other.id) && email == other.email }
}
