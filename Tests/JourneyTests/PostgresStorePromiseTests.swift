import Foundation
import PasswordReset
import PostgresStore
import TestSupport
import Testing

/// Runs the promises of the ports on the PostgreSQL store.
@Suite struct `The PostgreSQL store` {
  private let store: PostgresStore

  init() throws {
    store = try PostgresStore(PostgresAddress(url: PostgresCluster.newDatabase()))
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

/// Runs the promises about users on tables that are not Django's.
@Suite struct `The PostgreSQL store on another users table` {
  private func store(_ table: OtherUserTable) throws -> PostgresStore {
    let url = try PostgresCluster.newDatabase()
    try PostgresCluster.sql(table.postgreSQL, url: url)
    let store = try PostgresStore(PostgresAddress(url: url), users: table.users)
    try store.migrate()
    return store
  }

  @Test func `lists the users behind keys that are none, and counts those`() async throws {
    let url = try PostgresCluster.newDatabase()
    try PostgresCluster.sql(tableWithOddKeys, url: url)
    let store = try PostgresStore(PostgresAddress(url: url), users: usersWithOddKeys)
    try store.migrate()
    try await checkPagesWithOddKeys(store)
    #expect(try PostgresDatabase(PostgresAddress(url: url), users: usersWithOddKeys).inspect(isThorough: true).damagedUsers == 3)
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
@Suite struct `The PostgreSQL store next to allauth` {
  private let url: String

  init() throws { url = try PostgresCluster.newDatabase() }

  @Test(arguments: allauthPromises) func `keeps the users`(_ promise: AllauthPromise) async throws {
    try PostgresStore(PostgresAddress(url: url)).migrate()
    try await promise.check(site(.django, key: "integer"))
  }

  @Test(arguments: OtherUserTable.all, allauthPromises)
  func `keeps the users of another table`(_ table: OtherUserTable, _ promise: AllauthPromise) async throws {
    try PostgresCluster.sql(table.postgreSQL, url: url)
    try await promise.check(site(table.users, key: table.postgreSQLKey))
  }

  private func site(_ users: UserTable, key: String) throws -> AllauthSite {
    try PostgresCluster.sql(AllauthSite.table(key: key), url: url)
    var users = users
    users.usesAllauth = true
    let store = try PostgresStore(PostgresAddress(url: url), users: users)
    try store.migrate()
    return AllauthSite(store: store) { [url] statement in try PostgresCluster.sql(statement, url: url) }
  }
}
