public import Hummingbird
public import Localization
public import PasswordReset

/// The public HTTP interface, as `openapi.yaml` describes it.
public struct API: HTTPResponder {
  private let pipeline: RequestPipeline

  /// - Parameters:
  ///   - rateLimiter: limits the requests of each client, or `nil` for no limits.
  ///   - isReady: whether the service can answer requests.
  public init(
    service: PasswordResetService, languages: Languages, rateLimiter: RequestRateLimiter? = nil, allowedOrigins: AllowedOrigins = .none,
    metrics: HTTPMetrics, isReady: @escaping @Sendable () async -> Bool
  ) {
    let reset = ResetHandlers(service: service, languages: languages)
    let operations = OperationsHandlers(isReady: isReady)
    let routes = [
      Route(.post, "/password-reset", limitedAs: .requests) { request, context, _ in try await reset.request(request, context) },
      Route(.get, "/password-reset/{uidb64}/{token}", limitedAs: .links) { request, context, parameters in
        try await reset.check(request, context, uidb64: parameters["uidb64"], token: parameters["token"])
      },
      Route(.post, "/password-reset/{uidb64}/{token}", limitedAs: .links) { request, context, parameters in
        try await reset.confirm(request, context, uidb64: parameters["uidb64"], token: parameters["token"])
      },
      Route(.get, "/openapi.yaml") { _, _, _ in operations.openAPI() },
    ]
    pipeline = RequestPipeline(
      routes: RouteTable(routes: routes + operations.healthRoutes), rateLimiter: rateLimiter, allowedOrigins: allowedOrigins, metrics: metrics)
  }

  /// All routes, such as `GET /health/live`, so that a test can compare them with `openapi.yaml`.
  public var routeNames: [String] { pipeline.routes.routes.map { "\($0.method.rawValue) \($0.template)" } }

  public func respond(to request: Request, context: ResetRequestContext) async -> Response {
    await pipeline.respond(to: request, context: context)
  }
}
