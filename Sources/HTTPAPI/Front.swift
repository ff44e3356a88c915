import HTTPTypes
import Hummingbird
import Logging

/// What stands before every route: it turns errors into problem documents, gives each reply its headers, and tells log and metrics.
///
/// One step, not a chain of middleware (docs/decisions/0018).
struct Front: Sendable {
  var level = Logger.Level.info
  /// Nil for requests that are not counted.
  var metrics: HTTPMetrics?

  /// - Parameter answer: the reply; it also sets the template of the route that it found, as the path holds the token.
  func respond(
    to request: Request, _ context: ResetRequestContext, _ answer: (_ route: inout String) async throws -> Response
  ) async -> Response {
    let start = ContinuousClock.now
    var route = "none"
    var response: Response
    do {
      response = try await answer(&route)
    } catch {
      response = problem(for: error, context).response(requestID: context.requestID)
    }
    response.headers.setCommon(requestID: context.requestID)
    if request.method == .head { response = response.createHeadResponse() }
    let duration = (ContinuousClock.now - start) / .microseconds(1)
    metrics?.record(request.method, route: route, status: response.status.code, seconds: duration / 1e6)
    context.logger.log(
      level: level, "Request",
      metadata: [
        "request_id": .string(context.requestID), "method": .string(String(request.method.rawValue.utf8.prefix(16)) ?? ""),
        "route": .string(route), "status": .string(String(response.status.code)),
        "duration_ms": .string(String((duration / 10).rounded() / 100)),
      ])
    return response
  }

  private func problem(for error: any Error, _ context: ResetRequestContext) -> Problem {
    if let problem = error as? Problem { return problem }
    // Its text may hold anything, so only its type is logged.
    context.log.error("Unexpected error", metadata: ["type": "\(type(of: error))"])
    return Problem(.internalError, "Something went wrong on our side. The operator finds it in the log under the request id.")
  }
}

extension HTTPFields {
  private static let common: HTTPFields = [.cacheControl: "no-store", .referrerPolicy: "no-referrer", .xContentTypeOptions: "nosniff"]

  /// Nothing is cached, no address with a token in it is passed on, and the type is what we say.
  mutating func setCommon(requestID: String) {
    reserveCapacity(count + Self.common.count + 2)
    append(contentsOf: Self.common)
    append(HTTPField(name: .xRequestID, value: requestID))
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
