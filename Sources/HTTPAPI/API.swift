public import Hummingbird
public import Localization
import Logging
public import PasswordReset

/// The HTTP interface: `openapi.yaml` in code.
public struct API: Sendable {
  fileprivate let reset: ResetHandlers
  fileprivate let operations: OperationsHandlers

  /// - Parameter isReady: whether the database answers.
  public init(service: PasswordResetService, languages: Languages, isReady: @escaping @Sendable () async -> Bool) {
    reset = ResetHandlers(service: service, languages: languages)
    operations = OperationsHandlers(isReady: isReady)
  }

  /// Every route there is, by its path in `openapi.yaml`.
  private static let routes: [Route] = [
    Route("/password-reset", .post) { api in api.reset.request },
    Route("/password-reset/{uidb64}/{token}", .get) { api in api.reset.check },
    Route("/password-reset/{uidb64}/{token}", .post) { api in api.reset.confirm },
    Route("/openapi.yaml", .get) { api in api.operations.openAPI },
    Route("/health/live", .get) { api in api.operations.live },
    Route("/health/ready", .get) { api in api.operations.ready },
  ]

  /// `GET /health/live` and so on, for the test that compares them with `openapi.yaml`.
  public static var routeNames: [String] { routes.map { "\($0.method.rawValue) \($0.path.description)" } }

  /// The router, with its middleware from the outside in.
  public func router() -> Router<ResetRequestContext> {
    let router = Router(context: ResetRequestContext.self, options: .autoGenerateHeadEndpoints)
    router.add(middleware: RequestLogMiddleware())
    router.add(middleware: ResponseHeadersMiddleware())
    router.add(middleware: ProblemMiddleware(routes: Self.routes))
    for route in Self.routes { router.on(route.path, method: route.method, use: route.handler(self)) }
    return router
  }
}

/// A path, a method that it takes, and who answers.
struct Route: Sendable {
  let path: RouterPath
  let method: HTTPRequest.Method
  let handler: @Sendable (API) -> Handler

  init(_ path: RouterPath, _ method: HTTPRequest.Method, _ handler: @escaping @Sendable (API) -> Handler) {
    self.path = path
    self.method = method
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

  public init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    let id = String(UInt128.random(in: .min ... .max), radix: 16)
    requestID = String(repeating: "0", count: 32 - id.utf8.count) + id
    logger[metadataKey: "hb.request.id"] = nil
    logger[metadataKey: "request_id"] = "\(requestID)"
  }
}
