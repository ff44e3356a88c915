import Credentials
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
public struct API: Sendable {
  fileprivate let reset: ResetHandlers
  fileprivate let operations: OperationsHandlers
  private let policy: EdgePolicy
  private let metrics: HTTPMetrics
  private let now: @Sendable () -> Date

  /// - Parameter isReady: whether the database answers.
  public init(
    service: PasswordResetService, languages: Languages, policy: EdgePolicy = EdgePolicy(), metrics: HTTPMetrics,
    now: @escaping @Sendable () -> Date, isReady: @escaping @Sendable () async -> Bool
  ) {
    reset = ResetHandlers(service: service, languages: languages)
    operations = OperationsHandlers(isReady: isReady)
    self.policy = policy
    self.metrics = metrics
    self.now = now
  }

  /// Every route there is, by its path in `openapi.yaml`.
  private static let routes: [Route] = [
    Route("/password-reset", .post, limited: .requests) { api in api.reset.request },
    Route("/password-reset/{uidb64}/{token}", .get, limited: .links) { api in api.reset.check },
    Route("/password-reset/{uidb64}/{token}", .post, limited: .links) { api in api.reset.confirm },
    Route("/openapi.yaml", .get) { api in api.operations.openAPI },
    Route("/health/live", .get) { api in api.operations.live },
    Route("/health/ready", .get) { api in api.operations.ready },
  ]

  /// `GET /health/live` and so on, for the test that compares them with `openapi.yaml`.
  public static var routeNames: [String] { routes.map { "\($0.method.rawValue) \($0.path.description)" } }

  /// The router, with its middleware from the outside in.
  public func router() -> Router<ResetRequestContext> {
    let router = Router(context: ResetRequestContext.self, options: .autoGenerateHeadEndpoints)
    router.add(middleware: RequestLogMiddleware(metrics: metrics))
    router.add(middleware: ResponseHeadersMiddleware())
    router.add(middleware: CrossOriginMiddleware(allowed: policy.allowedOrigins))
    router.add(middleware: ProblemMiddleware())
    router.add(middleware: RoutesMiddleware(routes: Self.routes))
    // Routes with the same limits share one count.
    let limits: [Route.Limits: [RateLimit]] = [.requests: policy.requestLimits, .links: policy.linkLimits].filter { !$0.value.isEmpty }
    let limiters = limits.map { name, limits in
      (name, RateLimitMiddleware(name, ClientLimiter(limits, now: now), proxies: policy.trustedProxies, metrics: metrics))
    }
    for route in Self.routes {
      let group = router.group()
      if let limiter = limiters.first(where: { $0.0 == route.limits })?.1 { group.add(middleware: limiter) }
      group.on(route.path, method: route.method, use: route.handler(self))
    }
    return router
  }
}

/// A path, a method that it takes, and who answers.
struct Route: Sendable {
  /// Which of a client's limits a request counts against.
  enum Limits: CaseIterable { case requests, links }

  let path: RouterPath
  let method: HTTPRequest.Method
  let limits: Limits?
  let handler: @Sendable (API) -> Handler

  init(_ path: RouterPath, _ method: HTTPRequest.Method, limited limits: Limits? = nil, _ handler: @escaping @Sendable (API) -> Handler) {
    self.path = path
    self.method = method
    self.limits = limits
    self.handler = handler
  }

  /// The methods that it answers: Hummingbird adds HEAD to GET.
  var methods: [HTTPRequest.Method] { method == .get ? [.get, .head] : [method] }

  /// Whether `path` is one of this route's.
  func matches(_ path: String) -> Bool {
    let parts = path.split(separator: "/")
    let pattern = self.path.description.split(separator: "/")
    return parts.count == pattern.count && zip(parts, pattern).allSatisfy { $0 == $1 || $1.hasPrefix("{") }
  }
}

typealias Handler = @Sendable (Request, ResetRequestContext) async throws -> Response

/// What accompanies a request through the middleware.
public struct ResetRequestContext: RequestContext {
  public var coreContext: CoreRequestContextStorage
  /// Random: it counts nothing and tells nothing.
  let requestID: String
  private let address: SocketAddress?

  public init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    requestID = Self.makeRequestID()
    address = source.channel.remoteAddress
    logger[metadataKey: "request_id"] = "\(requestID)"
  }

  /// Who is at the other end of the connection: the client, or a proxy.
  var peer: IPAddress? { IPAddress(address) }

  static func makeRequestID() -> String {
    withUnsafeBytes(of: UInt128.random(in: .min ... .max)) { hexadecimal(Array($0)) }
  }
}
