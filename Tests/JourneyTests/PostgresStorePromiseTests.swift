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

  @Test(arguments: outboxStorePromises) func `keeps the outbox`(_ promise: StorePromise) async throws { try await promise.check(store) }

  @Test(arguments: outboxAdminPromises) func `serves the commands for the outbox`(_ promise: StorePromise) async throws {
    try await promise.check(store)
  }

  @Test(arguments: auditPromises) func `keeps the audit`(_ promise: StorePromise) async throws { try await promise.check(store) }
}
