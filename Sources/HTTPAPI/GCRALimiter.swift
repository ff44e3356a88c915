import Foundation
import PasswordReset
import Synchronization

/// Counts the requests of each client against limits, in bounded memory.
final class GCRALimiter: Sendable {
  /// For each client, the time when each of its quotas is full again. When `newer` is full, it replaces `older`. A client
  /// that drops out of `older` starts with full quotas.
  private struct Buckets {
    var newer: [UInt64: [Double]] = [:]
    var older: [UInt64: [Double]] = [:]
    /// The latest time, and what is added to the clock because it was set back. Without it, the buckets that were filled
    /// before would look full for as long as the clock was ahead.
    var latest = -Double.infinity
    var correction = 0.0

    mutating func steadyTime(_ now: Double) -> Double {
      if now + correction < latest { correction = latest - now }
      latest = now + correction
      return latest
    }
  }

  let limits: [RateLimit]
  private let generation: Int
  private let now: @Sendable () -> Date
  private let buckets = Mutex(Buckets())

  /// - Parameters:
  ///   - limits: at least one.
  ///   - generation: half the number of clients to remember, at about one hundred bytes each.
  init(_ limits: [RateLimit], generation: Int = 100_000, now: @escaping @Sendable () -> Date) {
    self.limits = limits
    self.generation = generation
    self.now = now
  }

  var knownClients: Int { buckets.withLock { $0.newer.count + $0.older.count } }

  /// Counts a request of the client if it is allowed.
  func charge(_ client: UInt64) -> LimitDecision {
    buckets.withLock { buckets in
      let now = buckets.steadyTime(self.now().timeIntervalSinceReferenceDate)
      var full = buckets.newer[client] ?? buckets.older[client] ?? limits.map { _ in now }
      let decision = LimitDecision.charge(&full, limits, at: now)
      if buckets.newer.count >= generation, buckets.newer[client] == nil {
        buckets.older = buckets.newer
        buckets.newer = [:]
      }
      buckets.newer[client] = full
      return decision
    }
  }
}
