import Foundation
public import Prometheus
import Synchronization

/// Runs password hashing off the event loops, at most `slots` at a time: hashing is slow and takes a core each.
///
/// Beyond `queueLimit` waiting calls it refuses at once, so that a flood of resets is shed and not heaped up.
public final class HashingPool: Sendable {
  /// Too many hashes are waiting.
  public struct Overloaded: Error {}

  private struct State {
    var running = 0
    var waiting: [CheckedContinuation<Bool, Never>] = []
  }

  private let slots: Int
  private let queueLimit: Int
  private let waits: Histogram
  private let refusals: Counter
  private let state = Mutex(State())

  /// - Parameters:
  ///   - slots: how many hashes run at once; the cores, as each keeps one busy.
  ///   - queueLimit: how many wait; with half a second a hash, 32 for each slot wait some 15 seconds.
  public init(slots: Int, queueLimit: Int, registry: Registry) {
    self.slots = slots
    self.queueLimit = queueLimit
    waits = registry.histogram(
      "password_reset_hashing_wait_seconds", "How long a new password waited to be hashed.",
      bounds: [0.001, 0.01, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30])
    refusals = registry.counter("password_reset_hashing_refused_total", "New passwords refused with 503, as too many waited to be hashed.")
    registry.gauge("password_reset_hashing_slots", "How many passwords may be hashed at once.") { Double(slots) }
    registry.gauge("password_reset_hashing_running", "How many passwords are being hashed.") { [weak self] in
      self.map { Double($0.state.withLock(\.running)) }
    }
    registry.gauge("password_reset_hashing_waiting", "How many passwords wait to be hashed.") { [weak self] in
      self.map { Double($0.state.withLock(\.waiting.count)) }
    }
  }

  /// The result of `work`, when a slot has run it.
  public func run<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await takeSlot()
    defer { freeSlot() }
    return try await withCheckedThrowingContinuation { continuation in
      // A thread of its own costs little beside a hash. A dispatch queue's would be missing to the database, which shares them.
      Thread.detachNewThread {
        // Linux ranks threads: whoever waits for a reply goes before whoever waits for a hash, however many threads argon2 starts.
        BackgroundExecutor.lowerPriority()
        continuation.resume(with: Swift.Result(catching: work))
      }
    }
  }

  private func takeSlot() async throws {
    let start = ContinuousClock.now
    let admitted = await withCheckedContinuation { continuation in
      let answer: Bool? = state.withLock { state in
        if state.running < slots {
          state.running += 1
          return true
        }
        if state.waiting.count >= queueLimit { return false }
        state.waiting.append(continuation)
        return nil
      }
      if let answer { continuation.resume(returning: answer) }
    }
    guard admitted else {
      refusals.increment()
      throw Overloaded()
    }
    waits.observe((ContinuousClock.now - start) / .seconds(1))
  }

  /// Hands the slot to whoever has waited longest.
  private func freeSlot() {
    let next: CheckedContinuation<Bool, Never>? = state.withLock { state in
      guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
      state.running -= 1
      return nil
    }
    next?.resume(returning: true)
  }
}
