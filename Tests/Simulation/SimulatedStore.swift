package import Credentials
package import PasswordReset

/// The store of a schedule, and how the site changes its users.
package struct SimulatedStore: Sendable {
  var store: any Store
  /// Whether the store uses other threads.
  var isOutside: Bool
  var crash: @Sendable () -> Void = {}
  var changeAddress: @Sendable (UserID, String) throws -> Void
  var deleteUser: @Sendable (UserID) throws -> Void

  /// A new store in memory.
  package static func memory(defect: MemoryStore.Defect? = nil) -> SimulatedStore {
    let store = MemoryStore(defect: defect)
    return SimulatedStore(
      store: store, isOutside: false, crash: { store.crash() }, changeAddress: { store.changeAddress(of: $0, to: $1) },
      deleteUser: { store.deleteUser($0) })
  }

  /// A store that uses other threads, whose tables are up to date and empty.
  package static func database(
    _ store: any Store, changeAddress: @escaping @Sendable (UserID, String) throws -> Void, deleteUser: @escaping @Sendable (UserID) throws -> Void
  ) -> SimulatedStore {
    SimulatedStore(store: store, isOutside: true, changeAddress: changeAddress, deleteUser: deleteUser)
  }
}

extension SimulatedStore {
  /// Runs `work` on the store at one moment of the schedule.
  func run<Value: Sendable>(
    in world: World, _ work: @escaping @Sendable (any Store) async throws(StoreError) -> Value
  ) async throws(StoreError) -> Value {
    guard isOutside else { return try await work(store) }
    return try await world.callOutside { [store] () async -> Result<Value, StoreError> in
      do throws(StoreError) { return .success(try await work(store)) } catch { return .failure(error) }
    }.get()
  }
}
