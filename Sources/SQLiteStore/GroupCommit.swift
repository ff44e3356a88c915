import Dispatch
import Foundation
import GRDB
import PasswordReset
import Synchronization

/// Writes requests that arrive together in one transaction, so that one sync of the disk answers all of them.
///
/// While a batch is being written the next one gathers; there is no waiting for company.
final class GroupCommit: Sendable {
  struct Intent: Sendable {
    var identifier: Identifier
    var locale: String?
    var requestID: String
    var createdAt: Date
    var due: Date
  }

  private typealias Waiter = CheckedContinuation<Result<Void, StoreError>, Never>

  private struct State {
    var pending: [(Intent, Waiter)] = []
    var isWriting = false
  }

  /// More than this many waiting requests mean that the disk has fallen seconds behind.
  private static let queueLimit = 10_000
  /// Bounds one transaction, and with it the wait of whatever else writes.
  private static let batchLimit = 1_000

  private let pool: DatabasePool
  private let queue = DispatchQueue(label: "password-reset.group-commit")
  private let state = Mutex(State())

  init(pool: DatabasePool) { self.pool = pool }

  /// Returns when `intent` is on disk.
  func add(_ intent: Intent) async throws(StoreError) {
    let result: Result<Void, StoreError> = await withCheckedContinuation { waiter in
      enum Next { case start, wait, refuse }
      let next = state.withLock { state -> Next in
        guard state.pending.count < Self.queueLimit else { return .refuse }
        state.pending.append((intent, waiter))
        defer { state.isWriting = true }
        return state.isWriting ? .wait : .start
      }
      switch next {
      case .start: queue.async { self.writeAll() }
      case .wait: break
      case .refuse: waiter.resume(returning: .failure(.overloaded))
      }
    }
    try result.get()
  }

  private func writeAll() {
    while let batch = takeBatch() {
      let result = Result { try write(batch.map(\.0)) }.mapError { StoreError($0) }
      for (_, waiter) in batch { waiter.resume(returning: result) }
      if case .failure = result { failPending(result) }
    }
  }

  /// What came while the disk or a lock kept a batch waiting in vain has waited as long; it must not wait that long again.
  private func failPending(_ result: Result<Void, StoreError>) {
    let waiting = state.withLock { state in
      defer { state.pending = [] }
      return state.pending
    }
    for (_, waiter) in waiting { waiter.resume(returning: result) }
  }

  private func takeBatch() -> [(Intent, Waiter)]? {
    state.withLock { state in
      guard !state.pending.isEmpty else {
        state.isWriting = false
        return nil
      }
      let batch = Array(state.pending.prefix(Self.batchLimit))
      state.pending.removeFirst(batch.count)
      return batch
    }
  }

  private func write(_ intents: [Intent]) throws {
    try pool.write { db in
      let insert = try db.cachedStatement(
        sql: """
          INSERT INTO password_reset_outbox (kind, identifier, locale, request_id, created_at, due_at) VALUES (?, ?, ?, ?, ?, ?)
          """)
      for intent in intents {
        let (kind, identifier) = OutboxRow.columns(of: intent.identifier)
        try insert.execute(arguments: [
          kind, identifier, intent.locale, intent.requestID, intent.createdAt.milliseconds, intent.due.milliseconds,
        ])
      }
    }
  }
}
