import NIOPosix
public import Prometheus
import Synchronization

/// Runs password hashing on its own threads, because a hash is slow and keeps a core busy.
///
/// When too many calls are waiting, it refuses further ones at once, so that a flood of resets does not pile up.
public final class HashingPool: Sendable {
  /// The error for a call that was refused because too many are waiting.
  public struct Overloaded: Error, CustomStringConvertible {
    /// The reason for the log.
    public var description: String { "too many passwords are waiting to be hashed" }
  }

  private let threads: NIOThreadPool
  private let capacity: Int
  private let waits: Histogram
  private let refusals: Counter
  /// The number of calls that are running or waiting.
  private let admitted = Mutex(0)

  /// Creates a pool and starts its threads.
  /// - Parameters:
  ///   - slots: The number of hashes that run at once, which should be the number of cores.
  ///   - queueLimit: The number of calls that may wait. If a hash takes half a second, 32 per slot wait about 15
  ///     seconds.
  ///   - registry: The registry for the metrics of the pool.
  public init(slots: Int, queueLimit: Int, registry: Registry) {
    threads = NIOThreadPool(numberOfThreads: slots)
    threads.start()
    capacity = slots + queueLimit
    waits = registry.histogram(
      "password_reset_hashing_wait_seconds", "How long a new password waited to be hashed.",
      bounds: [0.001, 0.01, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30])
    refusals = registry.counter(
      "password_reset_hashing_refused_total", "New passwords refused with status 503 because too many were waiting to be hashed.")
    registry.gauge("password_reset_hashing_slots", "How many passwords can be hashed at once.") { Double(slots) }
    registry.gauge("password_reset_hashing_running", "How many passwords are being hashed.") { [weak self] in
      self.map { Double(min($0.admitted.withLock(\.self), slots)) }
    }
    registry.gauge("password_reset_hashing_waiting", "How many passwords are waiting to be hashed.") { [weak self] in
      self.map { Double(max($0.admitted.withLock(\.self) - slots, 0)) }
    }
  }

  deinit { threads.shutdownGracefully { _ in } }

  /// Runs `work` as soon as a slot is free and returns its result, or throws ``Overloaded``.
  public func run<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
    let isAdmitted = admitted.withLock { admitted in
      guard admitted < capacity else { return false }
      admitted += 1
      return true
    }
    guard isAdmitted else {
      refusals.increment()
      throw Overloaded()
    }
    defer { admitted.withLock { $0 -= 1 } }
    let start = ContinuousClock.now
    return try await withCheckedThrowingContinuation { continuation in
      threads.submit { [waits] _ in
        waits.observe((ContinuousClock.now - start) / .seconds(1))
        lowerThreadPriority()
        continuation.resume(with: Swift.Result(catching: work))
      }
    }
  }
}
