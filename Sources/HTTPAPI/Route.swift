import Hummingbird

/// A method, a path template such as `/password-reset/{uidb64}/{token}`, and the handler of the requests that match both.
struct Route: Sendable {
  typealias Handler = @Sendable (Request, ResetRequestContext, PathParameters) async throws -> Response

  private enum Segment {
    case literal(Substring)
    case parameter(String)
  }

  let method: HTTPRequest.Method
  let template: String
  let rateLimitClass: RateLimitClass?
  let handler: Handler
  private let segments: [Segment]

  init(_ method: HTTPRequest.Method, _ template: String, limitedAs rateLimitClass: RateLimitClass? = nil, _ handler: @escaping Handler) {
    self.method = method
    self.template = template
    self.rateLimitClass = rateLimitClass
    self.handler = handler
    segments = template.split(separator: "/").map { $0.hasPrefix("{") ? .parameter(String($0.dropFirst().dropLast())) : .literal($0) }
  }

  /// The methods of its requests. A route for GET also answers HEAD.
  var methods: [HTTPRequest.Method] { method == .get ? [.get, .head] : [method] }

  /// Returns the parameters in the path with these segments, or `nil` if the path does not match the template.
  func parameters(in path: [Substring]) -> PathParameters? {
    guard path.count == segments.count else { return nil }
    var values: [String: String] = [:]
    for (text, segment) in zip(path, segments) {
      switch segment {
      case .literal(let literal): if text != literal { return nil }
      // A proxy may remove empty segments and dots, so they are never values.
      case .parameter(let name): if text.isEmpty || text == "." || text == ".." { return nil } else { values[name] = String(text) }
      }
    }
    return PathParameters(values: values)
  }
}

/// The values of the parameters in a path template.
struct PathParameters: Sendable {
  let values: [String: String]

  subscript(_ name: String) -> String { values[name, default: ""] }
}
