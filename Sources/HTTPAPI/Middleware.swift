import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// One log line a request. The path holds the token, so the route's template stands for it.
struct RequestLogMiddleware: RouterMiddleware {
  func handle(
    _ request: Request, context: ResetRequestContext, next: (Request, ResetRequestContext) async throws -> Response
  ) async throws -> Response {
    let start = ContinuousClock.now
    let response = try await next(request, context)
    let duration = (ContinuousClock.now - start) / .microseconds(1)
    context.logger.info(
      "Request",
      metadata: [
        "method": "\(request.method.rawValue.prefix(16))", "route": "\(context.endpointPath ?? "none")", "status": "\(response.status.code)",
        "duration_ms": "\((duration / 10).rounded() / 100)",
      ])
    return response
  }
}

/// The headers of every reply: nothing is cached, no address with a token in it is passed on, and the type is what we say.
struct ResponseHeadersMiddleware: RouterMiddleware {
  func handle(
    _ request: Request, context: ResetRequestContext, next: (Request, ResetRequestContext) async throws -> Response
  ) async throws -> Response {
    var response = try await next(request, context)
    response.headers[.cacheControl] = "no-store"
    response.headers[.referrerPolicy] = "no-referrer"
    response.headers[.xContentTypeOptions] = "nosniff"
    response.headers[.xRequestID] = context.requestID
    return request.method == .head ? response.createHeadResponse() : response
  }
}

/// Turns every error into a problem document.
struct ProblemMiddleware: RouterMiddleware {
  let routes: [Route]

  func handle(
    _ request: Request, context: ResetRequestContext, next: (Request, ResetRequestContext) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch {
      return problem(for: error, request, context).response(requestID: context.requestID)
    }
  }

  private func problem(for error: any Error, _ request: Request, _ context: ResetRequestContext) -> Problem {
    if let problem = error as? Problem { return problem }
    if let error = error as? HTTPError, error.status == .notFound { return missing(request) }
    // Its text may hold anything, so only its type is logged.
    context.logger.error("Unexpected error", metadata: ["type": "\(type(of: error))"])
    return Problem(.internalError, "Something went wrong on our side. The operator finds it in the log under the request id.")
  }

  /// Hummingbird finds no route for a wrong path and for a wrong method alike.
  private func missing(_ request: Request) -> Problem {
    let methods = routes.filter { $0.matches(request.uri.path) }.flatMap(\.methods)
    guard !methods.isEmpty else { return Problem(.notFound, "There is nothing at this path.") }
    let allow = methods.map(\.rawValue).joined(separator: ", ")
    return Problem(.methodNotAllowed, "This path takes \(allow).", headers: [.allow: allow])
  }
}

extension HTTPField.Name {
  static let referrerPolicy = token("Referrer-Policy")
  static let xRequestID = token("X-Request-Id")

  private static func token(_ name: String) -> HTTPField.Name {
    guard let name = HTTPField.Name(name) else { preconditionFailure("\(name) is no token of RFC 9110") }
    return name
  }
}
