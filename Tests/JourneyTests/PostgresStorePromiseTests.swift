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
@Suite struct `The PostgreSQL store on another users table` {
  private func store(_ table: OtherUserTable) throws -> PostgresStore {
    let url = try PostgresCluster.newDatabase()
    try PostgresCluster.sql(table.postgreSQL, url: url)
    let store = try PostgresStore(PostgresAddress(url: url), users: table.users)
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
