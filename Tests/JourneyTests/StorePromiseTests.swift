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

  @Test(arguments: userStorePromises) func `keeps the users`(_ promise: StorePromise) async throws { try await promise.check(store) }

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

  @Test(arguments: OtherUserTable.all, userStorePromises) func `keeps the users`(_ table: OtherUserTable, _ promise: StorePromise) async throws {
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
