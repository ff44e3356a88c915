/// What the limits say about a request of a client.
public struct LimitDecision: Sendable, Equatable {
  /// The rest of a limit, as the `RateLimit` header reports it.
  public struct Quota: Sendable, Equatable {
    public var limit: RateLimit
    public var remaining: Int
    /// The seconds until the quota is full again.
    public var reset: Int
  }

  /// The quota with the fewest remaining requests.
  public var quota: Quota
  /// The seconds to wait, or `nil` if the request is allowed.
  public var retryAfter: Int?

  /// Counts a request by the generic cell rate algorithm (ITU-T I.371), if all limits allow it.
  ///
  /// A client may send `count` requests at once, and regains one every `seconds / count`. This takes one number per client
  /// and limit, and no client waits for a window to end.
  /// - Parameters:
  ///   - full: For each limit, the time in seconds when the client's quota is full again. It is changed if the request is
  ///     allowed.
  ///   - limits: At least one.
  public static func charge(_ full: inout [Double], _ limits: [RateLimit], at now: Double) -> LimitDecision {
    let after = zip(limits, full).map { limit, full in max(full, now) + limit.interval }
    let wait = zip(limits, after).map { limit, after in after - Double(limit.seconds) - now }.max() ?? 0
    let isAllowed = wait <= tolerance
    if isAllowed { full = after }
    return LimitDecision(full, limits, wait: isAllowed ? nil : wait, at: now)
  }

  /// Creates the decision from quotas that are already charged.
  /// - Parameters:
  ///   - full: For each limit, the time in seconds when the client's quota is full again.
  ///   - wait: The seconds to wait, or `nil` if the request is allowed.
  public init(_ full: [Double], _ limits: [RateLimit], wait: Double?, at now: Double) {
    let quotas = zip(limits, full).map { limit, full in Quota(limit, full: full, at: now) }
    quota = quotas.min { $0.remaining < $1.remaining } ?? Quota(limit: limits[0], remaining: 0, reset: 0)
    retryAfter = wait.map { max(1, Int($0.rounded(.up))) }
  }

  /// Rounding errors of the sums, in seconds, that do not count.
  fileprivate static let tolerance = 1e-6
}

extension LimitDecision.Quota {
  fileprivate init(_ limit: RateLimit, full: Double, at now: Double) {
    let missing = max(0, full - now)
    let used = (missing / limit.interval - LimitDecision.tolerance).rounded(.up)
    self.init(limit: limit, remaining: max(0, limit.count - Int(used)), reset: Int(missing.rounded(.up)))
  }
}

extension RateLimit {
  /// The seconds in which a client regains one request.
  public var interval: Double { Double(seconds) / Double(count) }
}

/// Counts the requests of each client for several instances together.
///
/// A store that is used by one machine only does not need it: each process then counts in memory.
public protocol ClientLimitStore: Sendable {
  /// Counts a request of a client if all limits allow it, by the clock of the store.
  /// - Parameters:
  ///   - client: A key that says nothing about the client's address to someone without the secret key.
  ///   - group: The requests that share the limits.
  ///   - limits: At least one.
  func charge(_ client: String, in group: String, _ limits: [RateLimit]) async throws(StoreError) -> LimitDecision
}
