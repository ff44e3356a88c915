import PasswordReset
import Simulation
import TestSupport
import Testing

/// Runs the promises of the ports on the store that the simulation uses.
@Suite struct `The store in memory` {
  private let store = MemoryStore()

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
