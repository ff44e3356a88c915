import HTTPTypes
import Hummingbird
import Text

/// The web origins whose pages may call the service (the Fetch standard's CORS protocol), spelled exactly as browsers spell them.
public struct AllowedOrigins: Sendable, Equatable {
  public static let none = AllowedOrigins(origins: [])

  /// The request headers that every page may send: those that django-cors-headers allows, and those that libraries for
  /// HTTP, tracing and error reports add. None of them means anything to the service.
  private static let usualHeaders = [
    "accept", "accept-encoding", "accept-language", "authorization", "cache-control", "content-type", "dnt", "origin", "pragma", "user-agent",
    "x-csrftoken", "x-csrf-token", "x-requested-with", "x-xsrf-token",
    "b3", "baggage", "correlation-context", "elastic-apm-traceparent", "idempotency-key", "newrelic", "request-context", "request-id",
    "sentry-trace", "traceparent", "tracestate", "uber-trace-id", "x-amzn-trace-id", "x-b3-flags", "x-b3-parentspanid", "x-b3-sampled",
    "x-b3-spanid", "x-b3-traceid", "x-cloud-trace-context", "x-correlation-id", "x-datadog-origin", "x-datadog-parent-id",
    "x-datadog-sampling-priority", "x-datadog-tags", "x-datadog-trace-id", "x-instana-l", "x-instana-s", "x-instana-t", "x-request-id",
  ]
  /// Schemes that no page has as its origin, so that an origin with one would never match.
  private static let refusedSchemes = ["about", "blob", "data", "file", "ftp", "javascript", "mailto", "ws", "wss"]

  private let origins: [String]
  /// Whether pages may send their requests with credentials. The service ignores credentials.
  public var allowsCredentials = false
  /// The value of `Access-Control-Allow-Headers`.
  private var allowedHeaders = AllowedOrigins.usualHeaders.joined(separator: ", ")

  private init(origins: [String]) { self.origins = origins }

  /// Reads origins separated by commas, such as `https://app.example.com, capacitor://localhost`. An origin is a scheme, a
  /// host and, unless it is the scheme's default, a port. Returns `nil` if one of them is invalid.
  public init?(_ text: String) {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { String($0.trimmed) }
    guard parts.allSatisfy(Self.isOrigin) else { return nil }
    origins = parts
  }

  /// Adds request headers that pages may send.
  public mutating func allowHeaders(_ names: [String]) {
    let others = names.map { $0.lowercased() }.filter { !Self.usualHeaders.contains($0) }
    allowedHeaders = (Self.usualHeaders + others).joined(separator: ", ")
  }

  /// Reads names of headers separated by commas. Returns `nil` if one of them is invalid.
  public static func headerNames(_ text: String) -> [String]? {
    let names = text.split(separator: ",", omittingEmptySubsequences: false).map { String($0.trimmed) }
    // An asterisk is a valid name, but the operator would mean all names, which browsers do not accept for all requests.
    return names.allSatisfy { $0 != "*" && HTTPField.Name($0) != nil } ? names : nil
  }

  /// Whether an origin uses `http` and is not on this machine.
  public var hasPlainOriginElsewhere: Bool {
    origins.contains { $0.wholeMatch(of: /http:\/\/(?!(([a-z0-9\-]+\.)*localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?$).*/) != nil }
  }

  /// Compares bytes, because hashing or comparing a string that a client sent can take quadratic time.
  private func contains(_ origin: String) -> Bool { origins.contains { $0.utf8.elementsEqual(origin.utf8) } }

  /// Whether browsers write an origin like this. The schemes of web views and extensions have no default port, and the
  /// case of their hosts is kept.
  private static func isOrigin(_ text: String) -> Bool {
    guard let match = text.wholeMatch(of: /([a-z][a-z0-9+.\-]*):\/\/([A-Za-z0-9]([A-Za-z0-9._\-]*[A-Za-z0-9])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?/),
      match.4.map({ UInt16($0.dropFirst()) != nil }) ?? true
    else { return false }
    switch match.1 {
    case "http": return text.lowercased() == text && match.4 != ":80"
    case "https": return text.lowercased() == text && match.4 != ":443"
    default: return !refusedSchemes.contains(String(match.1))
    }
  }

  /// Tells browsers which pages may read the response. The request itself is answered the same for every origin.
  func addFields(to response: inout Response, for request: Request) {
    guard !origins.isEmpty else { return }
    addFields(to: &response.headers, for: request.headers[.origin])
    guard response.headers[.accessControlAllowOrigin] != nil else { return }
    if request.method == .options, request.headers[.accessControlRequestMethod] != nil, let methods = response.headers[.allow] {
      response.headers[.accessControlAllowMethods] = methods
      response.headers[.accessControlAllowHeaders] = allowedHeaders
      // Chromium caches a preflight response for at most this long, in seconds.
      response.headers[.accessControlMaxAge] = "7200"
    }
  }

  /// Adds what a response to any request needs, also to one that is rejected early.
  func addFields(to headers: inout HTTPFields, for origin: String?) {
    guard !origins.isEmpty else { return }
    headers[.vary] = "Origin"
    guard let origin, contains(origin) else { return }
    headers[.accessControlAllowOrigin] = origin
    headers[.accessControlExposeHeaders] = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"
    if allowsCredentials { headers[.accessControlAllowCredentials] = "true" }
  }
}
