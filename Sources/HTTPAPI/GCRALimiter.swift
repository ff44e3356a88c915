import Foundation
import PasswordReset
import Synchronization

/// Counts the requests of each client against limits, in bounded memory.
///
/// It uses the generic cell rate algorithm (ITU-T I.371): a client may send `count` requests at once, and regains one
/// every `seconds / count`. This takes one number per client and limit, and no client waits for a window to end.
final class GCRALimiter: Sendable {
  /// The rest of a limit, as the `RateLimit` header reports it.
  struct Quota: Equatable {
    var limit: RateLimit
    var remaining: Int
    /// The seconds until the quota is full again.
    var reset: Int
  }

  struct Verdict: Equatable {
    /// The quota with the fewest remaining requests.
    var quota: Quota
    /// The seconds to wait, or `nil` if the request is allowed.
    var retryAfter: Int?
  }

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
  func charge(_ client: UInt64) -> Verdict {
    buckets.withLock { buckets in
      let now = buckets.steadyTime(self.now().timeIntervalSinceReferenceDate)
      var full = buckets.newer[client] ?? buckets.older[client] ?? limits.map { _ in now }
      let verdict = Self.charge(&full, limits, at: now)
      if buckets.newer.count >= generation, buckets.newer[client] == nil {
        buckets.older = buckets.newer
        buckets.newer = [:]
      }
      buckets.newer[client] = full
      return verdict
    }
  }

  private static func charge(_ full: inout [Double], _ limits: [RateLimit], at now: Double) -> Verdict {
    var after = full
    var wait = 0.0
    for (index, limit) in limits.enumerated() {
      let window = Double(limit.seconds)
      after[index] = max(full[index], now) + window / Double(limit.count)
      wait = max(wait, after[index] - window - now)
    }
    // Allow for rounding errors of the sums.
    let isAllowed = wait <= 1e-6
    if isAllowed { full = after }
    let quotas = zip(limits, full).map { limit, full in quota(limit, full: full, at: now) }
    let least = quotas.min { $0.remaining < $1.remaining } ?? Quota(limit: limits[0], remaining: 0, reset: 0)
    return Verdict(quota: least, retryAfter: isAllowed ? nil : max(1, Int(wait.rounded(.up))))
  }

  private static func quota(_ limit: RateLimit, full: Double, at now: Double) -> Quota {
    let missing = max(0, full - now)
    let used = (missing * Double(limit.count) / Double(limit.seconds) - 1e-6).rounded(.up)
    return Quota(limit: limit, remaining: max(0, limit.count - Int(used)), reset: Int(missing.rounded(.up)))
  }
}
