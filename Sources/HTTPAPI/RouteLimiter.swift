import HTTPTypes
import Hummingbird
import PasswordReset

/// Counts the requests of each client against the limits of a route (draft-ietf-httpapi-ratelimit-headers).
struct RouteLimiter: Sendable {
  private let name: Route.Limits
  private let limiter: ClientLimiter
  private let proxies: TrustedProxies
  private let metrics: HTTPMetrics
  private let policy: String

  init(_ name: Route.Limits, _ limiter: ClientLimiter, proxies: TrustedProxies, metrics: HTTPMetrics) {
    self.name = name
    self.limiter = limiter
    self.metrics = metrics
    self.proxies = proxies
    policy = limiter.limits.map { "\"\($0.name)\";q=\($0.count);w=\($0.seconds)" }.joined(separator: ", ")
  }

  /// Answers 429 to a client that asks too often, and tells all others how much they have left.
  func limit(_ request: Request, _ context: ResetRequestContext, _ answer: () async throws -> Response) async throws -> Response {
    let client = proxies.client(peer: context.peer, forwardedFor: request.headers[values: .xForwardedFor])
    // Whoever has no address shares a bucket.
    let verdict = limiter.charge(client?.client ?? 0)
    metrics.recordDecision(of: name, isAllowed: verdict.retryAfter == nil)
    let quota = verdict.quota
    let headers: HTTPFields = [.rateLimitPolicy: policy, .rateLimit: "\"\(quota.limit.name)\";r=\(quota.remaining);t=\(quota.reset)"]
    do {
      if let seconds = verdict.retryAfter { throw Problem.throttled(retryAfter: seconds) }
      var response = try await answer()
      for field in headers { response.headers[field.name] = field.value }
      return response
    } catch var problem as Problem {
      for field in headers { problem.headers[field.name] = field.value }
      throw problem
    }
  }
}

extension RateLimit {
  fileprivate var name: String {
    switch seconds {
    case 1: "second"
    case 60: "minute"
    case 3600: "hour"
    default: "day"
    }
  }
}

extension Problem {
  fileprivate static func throttled(retryAfter seconds: Int) -> Problem {
    Problem(.throttled, "Too many requests. Please try again in \(seconds) seconds.", headers: [.retryAfter: "\(seconds)"])
  }
}

extension HTTPField.Name {
  static let rateLimit = token("RateLimit")
  static let rateLimitPolicy = token("RateLimit-Policy")
  static let xForwardedFor = token("X-Forwarded-For")
}
