import Foundation
import Synchronization

/// The entries that the worker has in hand, and until when they are its own.
///
/// A lease that has run out, because the disk, the machine or the process stood still, may be another worker's: nothing is handed over without one.
final class LeaseKeeper: Sendable {
  private struct Lease {
    /// As it was last claimed.
    var entry: OutboxEntry
    var end: Date
  }

  private struct State {
    var held: [Int64: Lease] = [:]
    var isClaiming = false
  }

  private let outbox: any OutboxStore
  private let duration: TimeInterval
  private let now: @Sendable () -> Date
  private let state = Mutex(State())

  init(outbox: any OutboxStore, duration: TimeInterval, now: @escaping @Sendable () -> Date) {
    self.outbox = outbox
    self.duration = duration
    self.now = now
  }

  /// How many entries are in hand.
  var count: Int { state.withLock(\.held.count) }

  /// Takes up to `limit` entries that are due. One that is in hand already is ours anew, and not among them.
  func claim(limit: Int) async throws(StoreError) -> [OutboxEntry] {
    state.withLock { $0.isClaiming = true }
    defer { state.withLock { $0.isClaiming = false } }
    let end = now().addingTimeInterval(duration)
    let entries = try await outbox.claim(limit: limit, at: now(), leaseEnd: end)
    return state.withLock { state in entries.filter { state.held.updateValue(Lease(entry: $0, end: end), forKey: $0.id) == nil } }
  }

  /// Puts off the ends of all leases; those of what is no longer ours end.
  func renew() async throws(StoreError) { try await renew(state.withLock { $0.held.values.map(\.entry) }) }

  /// Whether `entry` is ours for long enough to begin with it.
  func holds(_ entry: OutboxEntry) async -> Bool {
    guard let lease = state.withLock({ $0.held[entry.id] }) else { return false }
    if lease.end.timeIntervalSince(now()) > duration / 2 { return true }
    // The store knows; if it cannot say, the mail can wait.
    do { try await renew([lease.entry]) } catch { return false }
    let now = now()
    return state.withLock { state in state.held[entry.id].map { $0.end > now } ?? false }
  }

  /// Records how an entry ended; false if another worker has it, or it was deleted.
  func finish(_ entry: OutboxEntry, _ outcome: OutboxOutcome, audit: AuditRecord?) async throws(StoreError) -> Bool {
    while true {
      let held = state.withLock { $0.held[entry.id]?.entry } ?? entry
      let isRecorded = try await outbox.finish(held, outcome, audit: audit, at: now())
      // A claim under way may have made it ours anew. Cancelled, the sleep ends at once.
      while !isRecorded, !Task.isCancelled, state.withLock(\.isClaiming) { try? await Task.sleep(for: .milliseconds(5)) }
      let isOver = state.withLock { state in
        guard isRecorded || state.held[entry.id]?.entry.attempts ?? held.attempts == held.attempts else { return false }
        state.held[entry.id] = nil
        return true
      }
      if isOver { return isRecorded }
    }
  }

  /// Lets go of an entry; it is due again when the lease runs out.
  func drop(_ entry: OutboxEntry) { state.withLock { $0.held[entry.id] = nil } }

  private func renew(_ entries: [OutboxEntry]) async throws(StoreError) {
    guard !entries.isEmpty else { return }
    let end = now().addingTimeInterval(duration)
    let ours = try await outbox.renew(entries, leaseEnd: end)
    state.withLock { state in
      for entry in entries where state.held[entry.id]?.entry.attempts == entry.attempts {
        // It stays in hand until its handling ends: should it become ours anew, nobody else is to begin with it.
        state.held[entry.id]?.end = ours.contains(entry.id) ? end : .distantPast
      }
    }
  }
}
