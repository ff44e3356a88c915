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

  @Test(arguments: outboxStorePromises) func `keeps the outbox`(_ promise: StorePromise) async throws { try await promise.check(store) }

  @Test(arguments: outboxAdminPromises) func `serves the commands for the outbox`(_ promise: StorePromise) async throws {
    try await promise.check(store)
  }

  @Test(arguments: auditPromises) func `keeps the audit`(_ promise: StorePromise) async throws { try await promise.check(store) }
}
