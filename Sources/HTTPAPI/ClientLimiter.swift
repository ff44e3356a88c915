import Foundation
import PasswordReset
import Synchronization

/// Counts the requests of each client against limits, in bounded memory.
///
/// A limit is a bucket (the generic cell rate algorithm, as in ITU-T I.371): `count` requests at once, and each comes back after `seconds / count`. It
/// takes one number a client, and lets nobody wait for a window to end.
final class ClientLimiter: Sendable {
  /// What is left of a limit, as the `RateLimit` header tells it.
  struct Quota: Equatable {
    var limit: RateLimit
    var remaining: Int
    /// Seconds until the quota is whole again.
    var reset: Int
  }

  struct Verdict: Equatable {
    /// The limit with the least left.
    var quota: Quota
    /// Seconds to wait; nil if the request may pass.
    var retryAfter: Int?
  }

  /// For each client when its bucket will be full again, by the limits' order. What was not seen for long is in `older`, and what has fallen out of
  /// that is forgotten: a client that is forgotten begins anew.
  private struct Buckets {
    var newer: [UInt64: [Double]] = [:]
    var older: [UInt64: [Double]] = [:]
  }

  let limits: [RateLimit]
  private let generation: Int
  private let now: @Sendable () -> Date
  private let buckets = Mutex(Buckets())

  /// - Parameters:
  ///   - limits: not empty.
  ///   - generation: half of how many clients are kept in mind, at some hundred bytes each.
  init(_ limits: [RateLimit], generation: Int = 100_000, now: @escaping @Sendable () -> Date) {
    self.limits = limits
    self.generation = generation
    self.now = now
  }

  /// How many clients it keeps in mind.
  var knownClients: Int { buckets.withLock { $0.newer.count + $0.older.count } }

  /// Counts a request of `client`, if it may pass.
  func charge(_ client: UInt64) -> Verdict {
    let now = now().timeIntervalSinceReferenceDate
    return buckets.withLock { buckets in
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
    // Set back, the clock must not keep anybody waiting for longer than a window.
    for (index, limit) in limits.enumerated() { full[index] = min(full[index], now + Double(limit.seconds)) }
    var after = full
    var wait = 0.0
    for (index, limit) in limits.enumerated() {
      let window = Double(limit.seconds)
      after[index] = max(full[index], now) + window / Double(limit.count)
      wait = max(wait, after[index] - window - now)
    }
    // A billionth of a window is what the sums may be off by.
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
