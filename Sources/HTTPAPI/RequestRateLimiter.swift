public import Foundation
import HTTPTypes
import Hummingbird
public import PasswordReset

/// The routes that share a limit. The names are labels of a metric.
enum RateLimitClass: CaseIterable { case requests, links }

/// Limits the requests of each client per class of routes (draft-ietf-httpapi-ratelimit-headers).
public struct RequestRateLimiter: Sendable {
  struct Decision {
    /// The headers that report the client's quota.
    var headers: HTTPFields
    /// The seconds until the client may try again, or `nil` if the request is allowed.
    var retryAfter: Int?
  }

  private let limiters: [RateLimitClass: (limiter: GCRALimiter, policy: String)]
  private let trustedProxies: TrustedProxies
  private let metrics: HTTPMetrics

  /// - Parameters:
  ///   - requests: limits for requesting emails; empty for no limit.
  ///   - links: limits for checking and confirming links; empty for no limit.
  public init(
    requests: [RateLimit], links: [RateLimit], trustedProxies: TrustedProxies, metrics: HTTPMetrics, now: @escaping @Sendable () -> Date
  ) {
    limiters = [.requests: requests, .links: links].filter { !$0.value.isEmpty }.mapValues { limits in
      (GCRALimiter(limits, now: now), limits.map { "\"\($0.name)\";q=\($0.count);w=\($0.seconds)" }.joined(separator: ", "))
    }
    self.trustedProxies = trustedProxies
    self.metrics = metrics
  }

  /// Counts the request, and decides whether it is allowed. Returns `nil` if the class has no limit.
  func charge(_ request: Request, from peer: IPAddress?, as rateLimitClass: RateLimitClass) -> Decision? {
    guard let (limiter, policy) = limiters[rateLimitClass] else { return nil }
    let client = trustedProxies.client(peer: peer, forwardedFor: request.headers[values: .xForwardedFor])
    // Clients without an address share a bucket.
    let verdict = limiter.charge(client?.rateLimitKey ?? 0)
    metrics.recordDecision(of: rateLimitClass, isAllowed: verdict.retryAfter == nil)
    let quota = verdict.quota
    return Decision(
      headers: [.rateLimitPolicy: policy, .rateLimit: "\"\(quota.limit.name)\";r=\(quota.remaining);t=\(quota.reset)"],
      retryAfter: verdict.retryAfter)
  }
}

extension RateLimit {
  fileprivate var name: String { [1: "second", 60: "minute", 3600: "hour"][seconds] ?? "day" }
}
