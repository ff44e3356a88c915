public import ConnectionGuards
import HTTPTypes
public import Prometheus

/// The metrics of requests.
public struct HTTPMetrics: Sendable {
  /// Clients can invent methods. Others than these share a label, so that clients cannot create time series.
  private static let methods: Set<HTTPRequest.Method> = [.get, .head, .post, .options, .put, .patch, .delete]

  private let requests: Counter
  private let durations: Histogram
  private let decisions: Counter

  public init(_ registry: Registry) {
    requests = registry.counter(
      "password_reset_http_requests_total", "Requests answered, by method, route and status.", labels: ["method", "route", "status"])
    durations = registry.histogram(
      "password_reset_http_request_duration_seconds", "The time from receiving a whole request to answering it.", labels: ["route"],
      bounds: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10])
    decisions = registry.counter(
      "password_reset_limiter_decisions_total", "Requests that the rate limits per client allowed or throttled.", labels: ["limiter", "decision"],
      known: RateLimitClass.allCases.flatMap { limiter in ["allowed", "throttled"].map { ["\(limiter)", $0] } })
  }

  /// Reports the number of open connections and its limit.
  public static func measure(_ connections: ConnectionCount, in registry: Registry) {
    registry.gauge("password_reset_http_connections", "Open connections.") { Double(connections.open) }
    registry.gauge("password_reset_http_connections_limit", "Connections that may be open at once; further clients wait.") {
      Double(connections.limit)
    }
  }

  /// - Parameter route: the route's path template, or `none`.
  func record(_ method: HTTPRequest.Method, route: String, status: Int, seconds: Double) {
    count(method, route: route, status: status)
    durations.observe(seconds, route)
  }

  /// Counts a request that the connection guards rejected.
  func recordRejection(_ method: HTTPRequest.Method?, status: Int) { count(method, route: "none", status: status) }

  func recordDecision(of limiter: RateLimitClass, isAllowed: Bool) { decisions.increment("\(limiter)", isAllowed ? "allowed" : "throttled") }

  private func count(_ method: HTTPRequest.Method?, route: String, status: Int) {
    let name = method.flatMap { Self.methods.contains($0) ? $0.rawValue : nil } ?? "other"
    requests.increment(name, route, "\(status)")
  }
}
