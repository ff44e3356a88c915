import ConnectionGuards
public import Foundation
public import Hummingbird
public import Localization
import Logging
import NIOCore
public import PasswordReset

/// What the HTTP interface asks of those who call it.
public struct EdgePolicy: Sendable {
  /// For each client: for a mail, and for a link. None is no limit.
  public var requestLimits: [RateLimit]
  public var linkLimits: [RateLimit]
  public var trustedProxies: TrustedProxies
  public var allowedOrigins: AllowedOrigins

  public init(
    requestLimits: [RateLimit] = [], linkLimits: [RateLimit] = [], trustedProxies: TrustedProxies = .none, allowedOrigins: AllowedOrigins = .none
  ) {
    self.requestLimits = requestLimits
    self.linkLimits = linkLimits
    self.trustedProxies = trustedProxies
    self.allowedOrigins = allowedOrigins
  }
}

/// The HTTP interface: `openapi.yaml` in code.
public struct API: HTTPResponder {
  fileprivate let reset: ResetHandlers
  fileprivate let operations: OperationsHandlers
  private let front: Front
  private let origins: AllowedOrigins
  /// Routes with the same limits share one count.
  private let limiters: [Route.Limits: RouteLimiter]

  /// - Parameter isReady: whether the database answers.
  public init(
    service: PasswordResetService, languages: Languages, policy: EdgePolicy = EdgePolicy(), metrics: HTTPMetrics,
    now: @escaping @Sendable () -> Date, isReady: @escaping @Sendable () async -> Bool
  ) {
    reset = ResetHandlers(service: service, languages: languages)
    operations = OperationsHandlers(isReady: isReady)
    front = Front(metrics: metrics)
    origins = policy.allowedOrigins
    let limits: [Route.Limits: [RateLimit]] = [.requests: policy.requestLimits, .links: policy.linkLimits].filter { !$0.value.isEmpty }
    limiters = Dictionary(
      uniqueKeysWithValues: limits.map { name, limits in
        (name, RouteLimiter(name, ClientLimiter(limits, now: now), proxies: policy.trustedProxies, metrics: metrics))
      })
  }

  /// Every route there is, by its path in `openapi.yaml`.
  private static let routes: [Route] = [
    Route("/password-reset", .post, limited: .requests) { api, request, context, _ in try await api.reset.request(request, context) },
    Route("/password-reset/{uidb64}/{token}", .get, limited: .links) { api, request, context, path in
      try await api.reset.check(request, context, uidb64: String(path[1]), token: String(path[2]))
    },
    Route("/password-reset/{uidb64}/{token}", .post, limited: .links) { api, request, context, path in
      try await api.reset.confirm(request, context, uidb64: String(path[1]), token: String(path[2]))
    },
    Route("/openapi.yaml", .get) { api, _, _, _ in api.operations.openAPI() },
    Route("/health/live", .get) { api, _, _, _ in api.operations.live() },
    Route("/health/ready", .get) { api, _, _, _ in try await api.operations.ready() },
  ]

  /// `GET /health/live` and so on, for the test that compares them with `openapi.yaml`.
  public static var routeNames: [String] { routes.map { "\($0.method.rawValue) \($0.path)" } }

  public func respond(to request: Request, context: ResetRequestContext) async throws -> Response {
    var response = await front.respond(to: request, context) { template in
      // Over HTTP/1 it does not get so far.
      guard request.uri.string.utf8.count <= RequestSizeLimits.api.uriBytes else { throw Problem.uriTooLong }
      let path = Self.parts(of: request.uri.path)
      guard let route = Self.routes.first(where: { $0.takes(request.method) && $0.matches(path) }) else { return try withoutRoute(request, path) }
      template = route.path
      guard let limiter = route.limits.flatMap({ limiters[$0] }) else { return try await route.handler(self, request, context, path) }
      return try await limiter.limit(request, context) { try await route.handler(self, request, context, path) }
    }
    origins.addFields(to: &response, for: request)
    return response
  }

  /// The reply where no route takes the method on this path.
  private func withoutRoute(_ request: Request, _ path: [Substring]) throws(Problem) -> Response {
    let methods = Self.routes.filter { $0.matches(path) }.flatMap(\.methods)
    guard !methods.isEmpty else { throw .notFound }
    let allow = (methods + [.options]).map(\.rawValue).joined(separator: ", ")
    if request.method == .options { return Response(status: .noContent, headers: [.allow: allow]) }
    throw Problem(.methodNotAllowed, "This path takes \(allow).", headers: [.allow: allow])
  }

  /// What stands between the slashes; no part of a route is empty, so `//` is no path of ours. It is compared, never decoded, so that each path has
  /// one spelling only.
  private static func parts(of path: String) -> [Substring] {
    // Over HTTP/2 a path may hold anything.
    guard path.utf8.first == UInt8(ascii: "/"), path.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return [] }
    return path.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { Substring($0) }
  }
}

/// A path, a method that it takes, and who answers.
struct Route: Sendable {
  /// Which of a client's limits a request counts against.
  enum Limits: CaseIterable { case requests, links }

  /// Takes the parts of the path, too.
  typealias Handler = @Sendable (API, Request, ResetRequestContext, [Substring]) async throws -> Response

  let path: String
  let method: HTTPRequest.Method
  let limits: Limits?
  let handler: Handler
  private let parts: [Substring]

  init(_ path: String, _ method: HTTPRequest.Method, limited limits: Limits? = nil, _ handler: @escaping Handler) {
    self.path = path
    self.method = method
    self.limits = limits
    self.handler = handler
    parts = path.split(separator: "/")
  }

  /// HEAD is a GET without its body.
  var methods: [HTTPRequest.Method] { method == .get ? [.get, .head] : [method] }

  func takes(_ method: HTTPRequest.Method) -> Bool { method == self.method || method == .head && self.method == .get }

  /// Whether the path with these parts is one of this route's.
  func matches(_ path: [Substring]) -> Bool {
    path.count == parts.count && zip(path, parts).allSatisfy { $1.utf8.first == UInt8(ascii: "{") ? Self.isName($0) : $0 == $1 }
  }

  /// What is in front of us may pass over empty parts, and over dots.
  private static func isName(_ part: Substring) -> Bool { !part.isEmpty && part != "." && part != ".." }
}

/// What accompanies a request.
public struct ResetRequestContext: RequestContext {
  public var coreContext: CoreRequestContextStorage
  let requestID: String
  private let address: SocketAddress?

  public init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    requestID = RequestID.make()
    address = source.channel.remoteAddress
  }

  /// Tells of errors in this request.
  var log: Logger {
    var log = logger
    log[metadataKey: "request_id"] = "\(requestID)"
    return log
  }

  /// Who is at the other end of the connection: the client, or a proxy.
  var peer: IPAddress? { IPAddress(address) }

}
