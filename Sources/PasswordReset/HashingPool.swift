import Foundation
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
  private let state = Mutex(State())

  /// - Parameters:
  ///   - slots: how many hashes run at once; the cores, as each keeps one busy.
  ///   - queueLimit: how many wait; with half a second a hash, 32 for each slot wait some 15 seconds.
  public init(slots: Int, queueLimit: Int) {
    self.slots = slots
    self.queueLimit = queueLimit
  }

  /// The result of `work`, when a slot has run it.
  public func run<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await takeSlot()
    defer { freeSlot() }
    return try await withCheckedThrowingContinuation { continuation in
      // A thread of its own costs little beside a hash. A dispatch queue's would be missing to the database, which shares them.
      Thread.detachNewThread {
        // Linux ranks threads: whoever waits for a reply goes before whoever waits for a hash, however many threads argon2 starts.
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
        continuation.resume(with: Swift.Result(catching: work))
      }
    }
  }

  private func takeSlot() async throws {
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
    guard admitted else { throw Overloaded() }
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
