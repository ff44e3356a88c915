import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// One log line a request, and its place in the metrics. The path holds the token, so the route's template stands for it.
struct RequestLogMiddleware: RouterMiddleware {
  var level = Logger.Level.info
  /// Nil for those that are not counted.
  var metrics: HTTPMetrics?

  func handle(
    _ request: Request, context: ResetRequestContext, next: (Request, ResetRequestContext) async throws -> Response
  ) async throws -> Response {
    let start = ContinuousClock.now
    let response = try await next(request, context)
    let duration = (ContinuousClock.now - start) / .microseconds(1)
    // Where there is no route, Hummingbird has a word of its own.
    let route = context.endpointPath.flatMap { $0.hasPrefix("/") ? $0 : nil } ?? "none"
    metrics?.record(request.method, route: route, status: response.status.code, seconds: duration / 1e6)
    context.logger.log(
      level: level, "Request",
      metadata: [
        "method": "\(request.method.rawValue.prefix(16))", "route": "\(route)", "status": "\(response.status.code)",
        "duration_ms": "\((duration / 10).rounded() / 100)",
      ])
    return response
  }
}

/// The headers of every reply.
struct ResponseHeadersMiddleware: RouterMiddleware {
  func handle(
    _ request: Request, context: ResetRequestContext, next: (Request, ResetRequestContext) async throws -> Response
  ) async throws -> Response {
    var response = try await next(request, context)
    response.headers.setCommon(requestID: context.requestID)
    return request.method == .head ? response.createHeadResponse() : response
  }
}

extension HTTPFields {
  /// Nothing is cached, no address with a token in it is passed on, and the type is what we say.
  mutating func setCommon(requestID: String) {
    self[.cacheControl] = "no-store"
    self[.referrerPolicy] = "no-referrer"
    self[.xContentTypeOptions] = "nosniff"
    self[.xRequestID] = requestID
  }
}

/// Turns every error into a problem document.
struct ProblemMiddleware: RouterMiddleware {
  func handle(
    _ request: Request, context: ResetRequestContext, next: (Request, ResetRequestContext) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch {
      return problem(for: error, context).response(requestID: context.requestID)
    }
  }

  private func problem(for error: any Error, _ context: ResetRequestContext) -> Problem {
    if let problem = error as? Problem { return problem }
    if let error = error as? HTTPError, error.status == .notFound { return .notFound }
    // Its text may hold anything, so only its type is logged.
    context.logger.error("Unexpected error", metadata: ["type": "\(type(of: error))"])
    return Problem(.internalError, "Something went wrong on our side. The operator finds it in the log under the request id.")
  }
}

/// Takes each path in one spelling only, and says of each which methods it takes.
struct RoutesMiddleware: RouterMiddleware {
  let routes: [Route]

  func handle(
    _ request: Request, context: ResetRequestContext, next: (Request, ResetRequestContext) async throws -> Response
  ) async throws -> Response {
    let path = request.uri.path
    // Over HTTP/1 it does not get so far.
    guard request.uri.string.utf8.count <= EdgeLimits.uriBytes else { throw Problem.uriTooLong }
    guard isPlain(path) else { throw Problem.notFound }
    if request.method == .options { return Response(status: .noContent, headers: [.allow: try allow(path)]) }
    do {
      return try await next(request, context)
    } catch let error as HTTPError where error.status == .notFound {
      // Hummingbird finds no route for a wrong path and for a wrong method alike.
      let allow = try allow(path)
      throw Problem(.methodNotAllowed, "This path takes \(allow).", headers: [.allow: allow])
    }
  }

  /// Hummingbird passes over empty segments; what is in front of us may not, nor over dots. Over HTTP/2 a path may hold anything.
  private func isPlain(_ path: String) -> Bool {
    guard path.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return false }
    return path.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).allSatisfy {
      !$0.isEmpty && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8)
    }
  }

  private func allow(_ path: String) throws(Problem) -> String {
    let methods = routes.filter { $0.matches(path) }.flatMap(\.methods)
    guard !methods.isEmpty else { throw .notFound }
    return (methods + [.options]).map(\.rawValue).joined(separator: ", ")
  }
}

extension HTTPField.Name {
  static let referrerPolicy = token("Referrer-Policy")
  static let xRequestID = token("X-Request-Id")

  static func token(_ name: String) -> HTTPField.Name {
    guard let name = HTTPField.Name(name) else { preconditionFailure("\(name) is no token of RFC 9110") }
    return name
  }
}
