import Credentials
import Foundation
import PasswordReset
import SQLiteStore
import TestSupport
import Testing

/// Runs the promises of the ports on the SQLite store.
@Suite struct `The SQLite store` {
  private let harness: Harness
  private let store: SQLiteStore

  init() throws {
    harness = try Harness()
    store = try SQLiteStore(path: harness.path)
    try store.migrate()
  }

  @Test(arguments: userStorePromises + cancellationPromises + passwordHistoryPromises) func `keeps the users`(_ promise: StorePromise) async throws {
    try await promise.check(store)
  }

  @Test(arguments: userDirectoryPromises) func `serves the commands for users`(_ promise: StorePromise) async throws {
    try await promise.check(store)
  }

  @Test(arguments: outboxStorePromises + concurrentOutboxPromises) func `keeps the outbox`(_ promise: StorePromise) async throws {
    try await promise.check(store)
  }

  @Test(arguments: outboxAdminPromises) func `serves the commands for the outbox`(_ promise: StorePromise) async throws {
    try await promise.check(store)
  }

  @Test(arguments: auditPromises) func `keeps the audit`(_ promise: StorePromise) async throws { try await promise.check(store) }
}

/// A table with keys that are no UUIDs, which `char(32)` promises, next to one that is.
let tableWithOddKeys = """
  CREATE TABLE members (id char(32) PRIMARY KEY, email varchar(99), password varchar(99));
  INSERT INTO members VALUES ('0123456789abcdef0123456789abcdef', 'a@b.co', 'x'), ('AAAA', 'b@b.co', 'x'), ('zzzz', 'c@b.co', 'x'), ('', 'd@b.co', 'x');
  """

/// The settings for ``tableWithOddKeys``.
let usersWithOddKeys = UserTable(name: "members", columns: [.isActive: .absent, .lastLogin: .absent])

/// Checks that the pages of ``tableWithOddKeys`` have all rows that have a key, and count the others.
func checkPagesWithOddKeys(_ store: any Store) async throws {
  var (emails, withoutKey, last) = ([String](), 0, UserID?.none)
  repeat {
    let page = try await store.userPage(after: last, limit: 1)
    emails += page.rows.map(\.email)
    withoutKey += page.withoutKey
    last = page.last
  } while last != nil
  #expect(emails == ["a@b.co"] && withoutKey == 3)
}

/// Runs the promises about users on tables that are not Django's.
@Suite struct `The SQLite store on another users table` {
  private let harness: Harness

  init() throws { harness = try Harness() }

  private func store(_ table: OtherUserTable) throws -> SQLiteStore {
    try harness.execute(table.sqlite)
    let store = try SQLiteStore(path: harness.path, users: table.users)
    try store.migrate()
    return store
  }

  @Test func `lists the users behind keys that are none, and counts those`() async throws {
    try harness.execute(tableWithOddKeys)
    let store = try SQLiteStore(path: harness.path, users: usersWithOddKeys)
    try store.migrate()
    try await checkPagesWithOddKeys(store)
  }

  @Test(arguments: OtherUserTable.all, userStorePromises + cancellationPromises + passwordHistoryPromises)
  func `keeps the users`(_ table: OtherUserTable, _ promise: StorePromise) async throws {
    try await promise.check(store(table))
  }

  @Test(arguments: OtherUserTable.all, userDirectoryPromises)
  func `serves the commands for users`(_ table: OtherUserTable, _ promise: StorePromise) async throws {
    try await promise.check(store(table))
  }
}

/// Runs the promises about django-allauth's addresses.
@Suite struct `The SQLite store next to allauth` {
  private let harness: Harness

  init() throws { harness = try Harness() }

  @Test(arguments: allauthPromises) func `keeps the users`(_ promise: AllauthPromise) async throws {
    try SQLiteStore(path: harness.path).migrate()
    try await promise.check(site(.django, key: "integer"))
  }

  @Test(arguments: OtherUserTable.all, allauthPromises)
  func `keeps the users of another table`(_ table: OtherUserTable, _ promise: AllauthPromise) async throws {
    try harness.execute(table.sqlite)
    try await promise.check(site(table.users, key: table.sqliteKey))
  }

  private func site(_ users: UserTable, key: String) throws -> AllauthSite {
    try harness.execute(AllauthSite.table(key: key))
    var users = users
    users.usesAllauth = true
    let store = try SQLiteStore(path: harness.path, users: users)
    try store.migrate()
    return AllauthSite(store: store) { [harness] statement in try harness.execute(statement) }
  }
}
