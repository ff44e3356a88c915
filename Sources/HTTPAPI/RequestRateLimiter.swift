public import Credentials
public import Foundation
import HTTPTypes
import Hummingbird
public import PasswordReset
import Text

/// The routes that share a limit. The names are labels of a metric.
enum RateLimitClass: String, CaseIterable { case requests, links }

/// Limits the requests of each client per class of routes (draft-ietf-httpapi-ratelimit-headers).
public struct RequestRateLimiter: Sendable {
  struct Decision {
    /// The headers that report the client's quota.
    var headers: HTTPFields
    /// The seconds until the client may try again, or `nil` if the request is allowed.
    var retryAfter: Int?
  }

  /// Counts clients in a store that several instances share.
  public struct Shared: Sendable {
    private let store: any ClientLimitStore
    private let hasher: IdentifierHasher

    /// - Parameter hasher: Makes the keys of the clients, so that the store contains no addresses.
    public init(_ store: any ClientLimitStore, hasher: IdentifierHasher) { (self.store, self.hasher) = (store, hasher) }

    /// Returns `nil` if the store cannot be used at the moment.
    fileprivate func charge(_ client: UInt64, _ group: RateLimitClass, _ limits: [RateLimit]) async -> LimitDecision? {
      try? await store.charge(hasher.key(forClient: client), in: group.rawValue, limits)
    }
  }

  private let limiters: [RateLimitClass: (limiter: GCRALimiter, policy: String)]
  private let shared: Shared?
  private let metrics: HTTPMetrics

  /// - Parameters:
  ///   - requests: limits for requesting emails; empty for no limit.
  ///   - links: limits for checking and confirming links; empty for no limit.
  ///   - shared: counts for all instances, or `nil` if each counts for itself.
  public init(
    requests: [RateLimit], links: [RateLimit], shared: Shared? = nil, metrics: HTTPMetrics, now: @escaping @Sendable () -> Date
  ) {
    limiters = [.requests: requests, .links: links].filter { !$0.value.isEmpty }.mapValues { limits in
      (GCRALimiter(limits, now: now), limits.map { "\"\($0.name)\";q=\($0.count);w=\($0.seconds)" }.joined(separator: ", "))
    }
    self.shared = shared
    self.metrics = metrics
  }

  /// Counts the request, and decides whether it is allowed. Returns `nil` if the class has no limit.
  func charge(_ client: IPAddress?, as rateLimitClass: RateLimitClass) async -> Decision? {
    guard let (limiter, policy) = limiters[rateLimitClass] else { return nil }
    // Clients without an address share a bucket.
    let client = client?.network ?? 0
    // While the store is away, this instance counts for itself.
    let decision = await shared?.charge(client, rateLimitClass, limiter.limits) ?? limiter.charge(client)
    metrics.recordDecision(of: rateLimitClass, isAllowed: decision.retryAfter == nil)
    let quota = decision.quota
    return Decision(
      headers: [.rateLimitPolicy: policy, .rateLimit: "\"\(quota.limit.name)\";r=\(quota.remaining);t=\(quota.reset)"],
      retryAfter: decision.retryAfter)
  }
}

extension RateLimit {
  fileprivate var name: String { [1: "second", 60: "minute", 3600: "hour"][seconds] ?? "day" }
}
