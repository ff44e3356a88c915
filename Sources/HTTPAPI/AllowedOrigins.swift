import HTTPTypes
import Hummingbird
import Text

/// The web origins whose pages may call the service (the Fetch standard's CORS protocol), spelled exactly as browsers spell them.
public struct AllowedOrigins: Sendable, Equatable {
  public static let none = AllowedOrigins(origins: [])

  private let origins: [String]

  private init(origins: [String]) { self.origins = origins }

  /// Reads origins separated by commas, such as `https://app.example.com, http://localhost:3000`. An origin is a scheme, a
  /// host in lower case and, unless it is the scheme's default, a port. Returns `nil` if one of them is invalid.
  public init?(_ text: String) {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { String($0.trimmed) }
    guard parts.allSatisfy(Self.isOrigin) else { return nil }
    origins = parts
  }

  /// Whether an origin uses `http` and is not on this machine.
  public var hasPlainOriginElsewhere: Bool {
    origins.contains { $0.wholeMatch(of: /http:\/\/(?!(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?$).*/) != nil }
  }

  /// Compares bytes, because hashing or comparing a string that a client sent can take quadratic time.
  private func contains(_ origin: String) -> Bool { origins.contains { $0.utf8.elementsEqual(origin.utf8) } }

  private static func isOrigin(_ text: String) -> Bool {
    guard text.wholeMatch(of: /https?:\/\/([a-z0-9]([a-z0-9._\-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?/) != nil else { return false }
    return !(text.hasPrefix("http:") && text.hasSuffix(":80")) && !(text.hasPrefix("https:") && text.hasSuffix(":443"))
  }

  /// Tells browsers which pages may read the response. The request itself is answered the same for every origin.
  func addFields(to response: inout Response, for request: Request) {
    guard !origins.isEmpty else { return }
    response.headers[.vary] = "Origin"
    guard let origin = request.headers[.origin], contains(origin) else { return }
    response.headers[.accessControlAllowOrigin] = origin
    response.headers[.accessControlExposeHeaders] = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"
    if request.method == .options, request.headers[.accessControlRequestMethod] != nil, let methods = response.headers[.allow] {
      response.headers[.accessControlAllowMethods] = methods
      response.headers[.accessControlAllowHeaders] = "Content-Type"
      // Chromium caches a preflight response for at most this long, in seconds.
      response.headers[.accessControlMaxAge] = "7200"
    }
  }
}
