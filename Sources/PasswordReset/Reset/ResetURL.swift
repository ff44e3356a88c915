public import Foundation

/// Where the link in the mail leads: `RESET_URL`, a frontend's page or this service itself, with `{uid}` and `{token}` in it.
///
/// It comes from the configuration alone. A link built from a request's `Host` would let a stranger have tokens mailed to their own site.
public struct ResetURL: Sendable {
  private let template: String
  /// What stands between the placeholders, so that no mail looks for them: split at `{uid}`, then at `{token}`.
  private let parts: [[String]]

  /// Nil unless both placeholders are there and it is an `http` or `https` URL.
  public init?(_ template: String) {
    guard template.contains("{uid}"), template.contains("{token}"), template.hasPrefix("https://") || template.hasPrefix("http://") else {
      return nil
    }
    self.init(unchecked: template)
    guard !domain.isEmpty, !domain.contains("@"), !template.contains(where: \.isWhitespace) else { return nil }
  }

  /// This service itself, as it listens on this machine.
  public static func ofService(port: Int) -> ResetURL { ResetURL(unchecked: "http://localhost:\(port)/password-reset/{uid}/{token}") }

  private init(unchecked template: String) {
    self.template = template
    parts = template.components(separatedBy: "{uid}").map { $0.components(separatedBy: "{token}") }
  }

  /// As it is configured.
  public var text: String { template }

  /// Whether a token is safe on its way there: by `https`, or on this machine.
  public var isProtected: Bool { scheme == "https" || isLocal }

  /// Whether it leads to the machine of whoever follows it.
  public var isLocal: Bool {
    let host = domain.hasPrefix("[") ? domain.prefix { $0 != "]" } + "]" : domain.prefix { $0 != ":" }
    return host == "localhost" || host == "[::1]" || host.hasPrefix("127.") && host.allSatisfy { $0.isNumber || $0 == "." }
  }

  /// `https` or `http`.
  var scheme: String { template.hasPrefix("https://") ? "https" : "http" }

  /// The host, with the port if there is one: Django's `domain`.
  var domain: String { String(template.dropFirst(scheme.count + 3).prefix { !"/?#".contains($0) }) }

  /// The address that the mail shows.
  public func link(uid: String, token: String) -> String {
    parts.map { $0.joined(separator: token) }.joined(separator: uid)
  }
}

/// What a link is good for.
public enum LinkStatus: Sendable, Equatable {
  case valid(expiresAt: Date)
  /// Genuine, but too old.
  case expired
  /// Forged, malformed, used, of no user, or of one who may not log in. Nothing tells these apart.
  case invalid
}
