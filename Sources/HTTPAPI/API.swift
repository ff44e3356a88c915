public import Hummingbird
import Logging
public import PasswordReset

/// The HTTP interface: `openapi.yaml` in code.
public struct API: Sendable {
  private let service: PasswordResetService
  private let isReady: @Sendable () async -> Bool

  /// - Parameter isReady: whether the database answers.
  public init(service: PasswordResetService, isReady: @escaping @Sendable () async -> Bool) {
    self.service = service
    self.isReady = isReady
  }

  /// Every route there is, by its path in `openapi.yaml`.
  private var routes: [(path: RouterPath, method: HTTPRequest.Method, handler: Handler)] {
    let reset = ResetHandlers(service: service)
    let operations = OperationsHandlers(isReady: isReady)
    return [
      ("/password-reset", .post, reset.request),
      ("/password-reset/{uidb64}/{token}", .get, reset.check),
      ("/password-reset/{uidb64}/{token}", .post, reset.confirm),
      ("/openapi.yaml", .get, operations.openAPI),
      ("/health/live", .get, operations.live),
      ("/health/ready", .get, operations.ready),
    ]
  }

  /// The router, with its middleware from the outside in.
  public func router() -> Router<ResetRequestContext> {
    let router = Router(context: ResetRequestContext.self, options: .autoGenerateHeadEndpoints)
    let routes = routes
    router.add(middleware: RequestLogMiddleware())
    router.add(middleware: ResponseHeadersMiddleware())
    router.add(middleware: ProblemMiddleware(routes: routes.map { RouteMethods(path: $0.path, method: $0.method) }))
    for route in routes { router.on(route.path, method: route.method, use: route.handler) }
    return router
  }

  /// `GET /password-reset/{uidb64}/{token}` and so on, for the test that compares them with `openapi.yaml`.
  public var operations: [String] { routes.map { "\($0.method.rawValue) \($0.path.description)" } }
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
