import HTTPTypes
import Hummingbird
import Logging

/// Answers every request of a listener: finds its route, applies the limits, calls the handler, turns errors into
/// problem documents, adds the common headers, and records metrics and a log line.
///
/// It is one straight sequence, not a chain of middleware (docs/decisions/0018).
struct RequestPipeline: Sendable {
  let routes: RouteTable
  var allowedHosts: AllowedHosts?
  var trustedProxies = TrustedProxies.none
  var rateLimiter: RequestRateLimiter?
  var allowedOrigins = AllowedOrigins.none
  var metrics: HTTPMetrics?
  var logLevel = Logger.Level.info

  /// - Parameter last: how many segments at the end of the path to match, or `nil` for the whole path.
  func respond(to request: Request, context: ResetRequestContext, last: Int? = nil) async -> Response {
    let start = ContinuousClock.now
    let match = routes.match(request, last: last)
    var response = await answer(request, context, match)
    response.headers.setCommon(requestID: context.requestID)
    if request.method == .head { response = response.createHeadResponse() }
    record(request, context, template: match.template, status: response.status.code, duration: .now - start)
    allowedOrigins.addFields(to: &response, for: request)
    return response
  }

  private func answer(_ request: Request, _ context: ResetRequestContext, _ match: RouteMatch) async -> Response {
    do throws(Problem) {
      try allowedHosts?.check(request)
      switch match {
      case .route(let route, let parameters): return await call(route, parameters, request, context)
      case .notFound: throw Problem.notFound
      case .uriTooLong: throw Problem.uriTooLong
      case .methodNotAllowed(let allow):
        if request.method == .options { return Response(status: .noContent, headers: [.allow: allow]) }
        throw Problem(.methodNotAllowed, "This path allows \(allow).", headers: [.allow: allow])
      }
    } catch {
      return error.response(requestID: context.requestID)
    }
  }

  private func call(_ route: Route, _ parameters: PathParameters, _ request: Request, _ context: ResetRequestContext) async -> Response {
    var context = context
    context.client = trustedProxies.client(peer: context.peer, forwardedFor: request.headers[values: .xForwardedFor])
    var decision: RequestRateLimiter.Decision?
    if let rateLimiter, let group = route.rateLimitClass { decision = await rateLimiter.charge(context.client, as: group) }
    var response: Response
    do {
      if let seconds = decision?.retryAfter { throw Problem.throttled(retryAfter: seconds) }
      response = try await route.handler(request, context, parameters)
    } catch let problem as Problem {
      response = problem.response(requestID: context.requestID)
    } catch {
      // The error's text could contain anything, including secrets, so only its type is logged.
      context.log.error("Unexpected error", metadata: ["type": "\(type(of: error))"])
      return Problem.internalError.response(requestID: context.requestID)
    }
    for field in decision?.headers ?? [:] { response.headers[field.name] = field.value }
    return response
  }

  private func record(_ request: Request, _ context: ResetRequestContext, template: String, status: Int, duration: Duration) {
    let microseconds = duration / .microseconds(1)
    metrics?.record(request.method, route: template, status: status, seconds: microseconds / 1e6)
    context.logger.log(
      level: logLevel, "Request",
      metadata: [
        "request_id": .string(context.requestID), "method": .string(String(request.method.rawValue.utf8.prefix(16)) ?? ""),
        "route": .string(template), "status": .string(String(status)),
        "duration_ms": .string(String((microseconds / 10).rounded() / 100)),
      ])
  }
}
