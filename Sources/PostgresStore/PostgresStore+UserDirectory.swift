public import Credentials
import Foundation
public import PasswordReset

extension PostgresStore: UserDirectory {
  public func userPage(_ selection: UserSelection, after id: UserID?, limit: Int) async throws(StoreError) -> UserPage {
    let (condition, value) = Self.condition(selection)
    let sql = "SELECT \(users.rowColumns) FROM \(users.table) WHERE id > $1::bigint AND \(condition) ORDER BY id LIMIT $2::bigint"
    let rows = try await read(Command(Statement(nil, sql), id?.integer ?? .min, limit, value))
    var page = UserPage()
    for case let (id?, row) in rows.map({ ($0.integer(0), Self.userRow($0)) }) {
      page.last = UserID(id)
      if let row { page.rows.append(row) } else { page.damaged.append(UserID(id)) }
    }
    return page
  }

  private static func condition(_ selection: UserSelection) -> (String, String?) {
    switch selection {
    case .all: ("$3::text IS NULL", nil)
    case .username(let name): ("username = $3::text", name)
    case .email(let address): ("UPPER(email::text) = UPPER($3::text)", address)
    case .id(let id): ("id = $3::bigint", id.integer.map(String.init))
    case .containing(let text):
      ("strpos(lower(username || chr(10) || email || chr(10) || first_name || ' ' || last_name), lower($3::text)) > 0", text)
    }
  }

  public func userRow(username: String) async throws(StoreError) -> UserRow? {
    try await read(Command(users.rowByUsername, username)).map(Self.userRow).compactMap(\.self).first
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
        let insert = Command(
          row.id == nil ? users.insert : users.insertWithID, row.id?.integer, row.username, row.email, row.firstName, row.lastName, row.password,
          row.lastLogin.flatMap(Self.time), row.isActive, row.isStaff, row.isSuperuser, Self.time(row.dateJoined) ?? row.dateJoined)
        return [insert, Command(users.namesake, row.username)] + (row.id == nil ? [] : [Command(users.adjustKeys)])
      })
    var (additions, position) = ([UserAddition](), 0)
    for row in rows {
      additions.append(Self.addition(of: row, inserted: results[position], namesake: results[position + 1]))
      position += row.id == nil ? 2 : 3
    }
    return additions
  }

  private static func addition(of row: UserRow, inserted: Rows, namesake: Rows) -> UserAddition {
    if let id = inserted.first?.integer(0) { return .added(id: UserID(id)) }
    guard let other = namesake.first else { return .keyTaken }
    // The password may have changed since.
    let isSame = (row.id == nil || row.id?.integer == other.integer(0)) && row.email == other.text(1)
    return isSame ? .present : .nameTaken
  }

  public func setActive(_ isActive: Bool, username: String) async throws(StoreError) -> Bool {
    if username.utf8.contains(0) { return false }
    return try await writeUsers([Command(users.setActive, isActive, username)])[0].changes == 1
  }

  /// Returns the time in UTC, or `nil` if the text is one that Django takes for no time.
  private static func time(_ text: String) -> String? {
    if case .time(let time) = DjangoTime.read(text) { time.stored } else { nil }
  }

  /// Returns `nil` for a row that Django cannot read.
  static func userRow(_ row: Row) -> UserRow? {
    guard let id = row.integer(0), let username = row.text(1), let email = row.text(2), let firstName = row.text(3), let lastName = row.text(4),
      let password = row.text(5), let lastLogin = StoredTime.read(row.text(6)), let joined = StoredTime.read(row.text(10)), let joined
    else { return nil }
    var user = UserRow(
      id: UserID(id), username: username, email: email, firstName: firstName, lastName: lastName, password: password,
      dateJoined: joined.stored ?? "")
    (user.isActive, user.isStaff, user.isSuperuser) = (row.isTrue(7), row.isTrue(8), row.isTrue(9))
    user.lastLogin = lastLogin?.stored
    return user
  }
}
