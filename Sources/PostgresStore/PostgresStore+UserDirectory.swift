public import Credentials
import Foundation
public import PasswordReset

extension PostgresStore: UserDirectory {
  public var userMapping: UserMapping { users.mapping }

  public func userPage(_ selection: UserSelection, after id: UserID?, limit: Int) async throws(StoreError) -> UserPage {
    let (condition, value) = users.condition(selection)
    let (key, parameter) = (users.sql.key, users.sql.keyParameter("$1"))
    let isAfter = id == nil ? "\(parameter) IS NULL" : "\(key) > \(parameter)"
    let sql = "\(users.row) WHERE \(isAfter) AND \(condition) ORDER BY \(users.sql.keyOrder) LIMIT $2::bigint"
    // A page may begin after a key that is not of the table's kind.
    let start = id.map { users.keyText($0) ?? $0.text }
    let rows = try await read(Command(Statement(nil, sql), start, limit, value))
    var page = UserPage()
    for (text, id, user) in rows.map({ ($0.text(0), users.id($0), Self.userRow($0, users)) }) {
      page.last = id ?? text.map { UserID($0) }
      if let user { page.rows.append(user) } else if let id { page.damaged.append(id) } else { page.withoutKey += 1 }
    }
    return page
  }

  public func hasUsers() async throws(StoreError) -> Bool {
    try await read(Command(Statement(nil, "SELECT EXISTS (SELECT 1 FROM \(users.table))"))).first?.isTrue(0) ?? false
  }

  public func userCount() async throws(StoreError) -> Int {
    Int(try await read(Command(Statement(nil, "SELECT count(*) FROM \(users.table)"))).first?.integer(0) ?? 0)
  }

  public func add(_ rows: [UserRow]) async throws(StoreError) -> [UserAddition] {
    // The look-up is a separate statement, which sees what another transaction has added meanwhile.
    let results = try await writeUsers(
      rows.flatMap { row in
        let namesake = Command(users.namesake, hasUsernames ? row.username : row.email)
        return [users.insert(row), namesake] + (row.id == nil ? [] : [Command(users.adjustKeys)])
      })
    var (additions, position) = ([UserAddition](), 0)
    for row in rows {
      additions.append(addition(of: row, inserted: results[position], namesake: results[position + 1]))
      position += row.id == nil ? 2 : 3
    }
    return additions
  }

  private func addition(of row: UserRow, inserted: Rows, namesake: Rows) -> UserAddition {
    if let id = inserted.first.flatMap(users.id) { return .added(id: id) }
    guard let other = namesake.first else { return .keyTaken }
    // The password may have changed since.
    let isSame = (row.id == nil || row.id == users.id(other)) && row.email == other.text(1)
    return isSame ? .present : .nameTaken
  }

  public func update(_ id: UserID, _ changes: [ActiveChange], runsAfterReset: Bool) async throws(StoreError) -> Bool {
    let followUp = runsAfterReset ? afterReset(for: id, at: Date(), isMade: { $0[0].changes == 1 }) : nil
    return try await writeUsers([users.update(id, changes)], followUp: followUp)[0].changes == 1
  }

  /// Returns `nil` for a row that Django cannot read.
  private static func userRow(_ row: Row, _ users: UserStatements) -> UserRow? {
    guard let id = users.id(row), let username = row.text(1), let email = row.text(2), let firstName = row.text(3), let lastName = row.text(4),
      let password = row.text(5), let lastLogin = StoredTime.read(row.text(6)), let joined = StoredTime.read(row.text(10))
    else { return nil }
    var user = UserRow(
      id: id, username: username, email: email, firstName: firstName, lastName: lastName, password: password,
      dateJoined: joined?.stored ?? "")
    (user.isActive, user.isStaff, user.isSuperuser) = (row.isTrue(7), row.isTrue(8), row.isTrue(9))
    user.lastLogin = lastLogin?.stored
    return user
  }
}
