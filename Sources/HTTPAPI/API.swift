public import Hummingbird
public import Localization
public import PasswordReset

/// The public HTTP interface, as `openapi.yaml` describes it. It answers a listener, or provides routes for the router of another application.
public struct API: HTTPResponder {
  private let pipeline: RequestPipeline

  /// - Parameters:
  ///   - trustedProxies: whose `X-Forwarded-For` names the client.
  ///   - rateLimiter: limits the requests of each client, or `nil` for no limits.
  ///   - isReady: whether the service can answer requests, or `nil` to leave out the routes for health and for `openapi.yaml`.
  public init(
    service: PasswordResetService, languages: Languages, trustedProxies: TrustedProxies = .none, rateLimiter: RequestRateLimiter? = nil,
    allowedOrigins: AllowedOrigins = .none, metrics: HTTPMetrics, isReady: (@Sendable () async -> Bool)? = nil
  ) {
    let routes = ResetHandlers(service: service, languages: languages).routes + (isReady.map { OperationsHandlers(isReady: $0).routes } ?? [])
    pipeline = RequestPipeline(
      routes: RouteTable(routes: routes), trustedProxies: trustedProxies, rateLimiter: rateLimiter, allowedOrigins: allowedOrigins,
      metrics: metrics)
  }

  /// All routes, such as `GET /health/live`, so that a test can compare them with `openapi.yaml`.
  public var routeNames: [String] { pipeline.routes.routes.map { "\($0.method.rawValue) \($0.template)" } }

  public func respond(to request: Request, context: ResetRequestContext) async -> Response {
    await pipeline.respond(to: request, context: context)
  }

  /// Returns the routes for the router of another application, which can add them at any path.
  ///
  /// A request that the router passes on gets the same response as from a listener of this interface, errors included.
  public func routes<Context: RemoteAddressRequestContext>(context: Context.Type = Context.self) -> RouteCollection<Context> {
    let collection = RouteCollection(context: Context.self)
    for template in Set(pipeline.routes.routes.map(\.template)) {
      let length = template.split(separator: "/").count
      // The pipeline answers the methods that a route does not allow.
      for method: HTTPRequest.Method in [.get, .head, .post, .put, .patch, .delete, .options] {
        collection.on(RouterPath(template), method: method) { [pipeline] request, context in
          await pipeline.respond(to: request, context: ResetRequestContext(context), last: length)
        }
      }
    }
    return collection
  }
}
