import HTTPTypes
import Hummingbird
import Text

/// The origins whose pages may call from a browser (the Fetch standard's CORS protocol), each spelled exactly as browsers spell it.
public struct AllowedOrigins: Sendable, Equatable {
  public static let none = AllowedOrigins(origins: [])

  private let origins: [String]

  private init(origins: [String]) { self.origins = origins }

  /// Reads origins separated by commas: `https://app.example.com, http://localhost:3000`. Nil if one of them is no origin: a scheme, a host in lower case
  /// and, unless it is the scheme's own, a port; no path, and no `*`.
  public init?(_ text: String) {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { String($0.trimmed) }
    guard parts.allSatisfy(Self.isOrigin) else { return nil }
    origins = parts
  }

  /// Whether one of them is not `https`, and not on this machine.
  public var hasPlainOriginElsewhere: Bool {
    origins.contains { $0.wholeMatch(of: /http:\/\/(?!(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?$).*/) != nil }
  }

  /// Byte by byte: a stranger's text is not to be hashed, or compared in its canonical form.
  private func contains(_ origin: String) -> Bool { origins.contains { $0.utf8.elementsEqual(origin.utf8) } }

  private static func isOrigin(_ text: String) -> Bool {
    guard text.wholeMatch(of: /https?:\/\/([a-z0-9]([a-z0-9._\-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?/) != nil else { return false }
    return !(text.hasPrefix("http:") && text.hasSuffix(":80")) && !(text.hasPrefix("https:") && text.hasSuffix(":443"))
  }
}

extension AllowedOrigins {
  /// What a page may read beside the headers that all may.
  private static let exposed = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"
  /// Seconds; the longest that Chromium keeps an answer.
  private static let maximumAge = "7200"

  /// Tells browsers which pages may read the reply. It hinders nobody else: a request is answered alike wherever it comes from.
  func addFields(to response: inout Response, for request: Request) {
    guard !origins.isEmpty else { return }
    response.headers[.vary] = "Origin"
    guard let origin = request.headers[.origin], contains(origin) else { return }
    response.headers[.accessControlAllowOrigin] = origin
    response.headers[.accessControlExposeHeaders] = Self.exposed
    if request.method == .options, request.headers[.accessControlRequestMethod] != nil, let methods = response.headers[.allow] {
      response.headers[.accessControlAllowMethods] = methods
      response.headers[.accessControlAllowHeaders] = "Content-Type"
      response.headers[.accessControlMaxAge] = Self.maximumAge
    }
  }
}
