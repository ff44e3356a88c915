import Hummingbird

/// The bytes between two slashes of a path. Its comparison is faster than that of a `Substring`.
typealias PathSegment = ArraySlice<UInt8>

/// A method, a path template such as `/password-reset/{uidb64}/{token}`, and the handler of the requests that match both.
final class Route: Sendable {
  typealias Handler = @Sendable (Request, ResetRequestContext, PathParameters) async throws -> Response

  let method: HTTPRequest.Method
  let template: String
  let rateLimitClass: RateLimitClass?
  let handler: Handler
  private let segments: [PathSegment]

  init(_ method: HTTPRequest.Method, _ template: String, limitedAs rateLimitClass: RateLimitClass? = nil, _ handler: @escaping Handler) {
    self.method = method
    self.template = template
    self.rateLimitClass = rateLimitClass
    self.handler = handler
    segments = Array(template.utf8).split(separator: UInt8(ascii: "/"))
  }

  /// The methods of its requests. A route for GET also answers HEAD.
  var methods: [HTTPRequest.Method] { method == .get ? [.get, .head] : [method] }

  func accepts(_ method: HTTPRequest.Method) -> Bool { method == self.method || method == .head && self.method == .get }

  /// Whether a path with these segments matches the template.
  func matches(_ path: [PathSegment]) -> Bool {
    path.count == segments.count && zip(segments, path).allSatisfy { Self.isParameter($0) ? Self.isValue($1) : $0 == $1 }
  }

  /// Returns the parameters in the segments of a path that matches.
  func parameters(in path: [PathSegment]) -> PathParameters { PathParameters(template: segments, path: path) }

  private static func isParameter(_ segment: PathSegment) -> Bool { segment.first == UInt8(ascii: "{") }

  /// A proxy may remove empty segments and dots, so they are never values.
  private static func isValue(_ segment: PathSegment) -> Bool {
    segment.count > 2 || segment.contains { $0 != UInt8(ascii: ".") }
  }
}

/// The values of the parameters in a path template.
struct PathParameters: Sendable {
  /// The segments of the template, such as `{token}`, and those of the path.
  fileprivate let template, path: [PathSegment]

  /// The value of `{name}`, or an empty text if the template has no such parameter.
  subscript(_ name: String) -> String {
    let index = template.firstIndex { $0.dropFirst().dropLast().elementsEqual(name.utf8) }
    return index.map { String(decoding: path[$0], as: UTF8.self) } ?? ""
  }
}
