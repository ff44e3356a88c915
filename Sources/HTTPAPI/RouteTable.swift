import ConnectionGuards
import Hummingbird

/// The result of matching a request with the routes.
enum RouteMatch: Sendable {
  case route(Route, PathParameters)
  case notFound
  /// The path exists, but not for the request's method. `allow` is the header that lists its methods, OPTIONS included.
  case methodNotAllowed(allow: String)
  case uriTooLong

  /// The route's path template, or `none`. Logs and metrics use it, because the path itself contains the token.
  var template: String { if case .route(let route, _) = self { route.template } else { "none" } }
}

/// The routes of one listener.
struct RouteTable: Sendable {
  let routes: [Route]

  func match(_ request: Request) -> RouteMatch {
    // The guards check this for HTTP/1 only.
    guard request.uri.string.utf8.count <= RequestSizeLimits.api.uriBytes else { return .uriTooLong }
    let path = Self.segments(of: request.uri.path)
    var allowed: [HTTPRequest.Method] = []
    for route in routes {
      guard let parameters = route.parameters(in: path) else { continue }
      if route.methods.contains(request.method) { return .route(route, parameters) }
      allowed += route.methods
    }
    return allowed.isEmpty ? .notFound : .methodNotAllowed(allow: (allowed + [.options]).map(\.rawValue).joined(separator: ", "))
  }

  /// Returns the texts between the slashes. They are compared and never decoded, and an empty one matches no route, so
  /// that each path has exactly one spelling.
  private static func segments(of path: String) -> [Substring] {
    // Over HTTP/2, a path can contain any character.
    guard path.utf8.first == UInt8(ascii: "/"), path.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return [] }
    return path.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { Substring($0) }
  }
}
