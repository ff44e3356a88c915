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

  /// - Parameter last: how many segments at the end of the path to match, or `nil` for the whole path. A router that the routes are mounted in has
  ///   matched those before them.
  func match(_ request: Request, last: Int? = nil) -> RouteMatch {
    // The guards check this for HTTP/1 only.
    guard request.uri.string.utf8.count <= RequestSizeLimits.api.uriBytes else { return .uriTooLong }
    let whole = Self.segments(of: request.uri.path)
    let path = last.map { Array(whole.suffix($0)) } ?? whole
    if let route = routes.first(where: { $0.accepts(request.method) && $0.matches(path) }) { return .route(route, route.parameters(in: path)) }
    let allowed = routes.filter { $0.matches(path) }.flatMap(\.methods)
    return allowed.isEmpty ? .notFound : .methodNotAllowed(allow: (allowed + [.options]).map(\.rawValue).joined(separator: ", "))
  }

  /// Returns the texts between the slashes. They are compared and never decoded, and an empty one matches no route, so
  /// that each path has exactly one spelling.
  private static func segments(of path: String) -> [PathSegment] {
    let path = Array(path.utf8)
    // Over HTTP/2, a path can contain any character.
    guard path.first == UInt8(ascii: "/"), path.allSatisfy({ (0x21...0x7E).contains($0) }) else { return [] }
    return path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
  }
}
