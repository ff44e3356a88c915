import Foundation

/// The address of the links in emails, with the placeholders `{uid}` and `{token}`.
///
/// It is `RESET_URL`, a page of the frontend, or an address of this service. It never depends on the `Host` of a
/// request, because then a stranger could have tokens sent to their own site.
public struct ResetURL: Sendable {
  private let template: String
  /// The template, split at `{uid}` and then at `{token}`, so that this is not done for every email.
  private let parts: [[String]]

  /// Creates the address from `RESET_URL`, or returns `nil` unless it is an `http` or `https` URL with both
  /// placeholders.
  public init?(_ template: String) {
    guard template.contains("{uid}"), template.contains("{token}"), template.hasPrefix("https://") || template.hasPrefix("http://") else {
      return nil
    }
    self.init(unchecked: template)
    guard !domain.isEmpty, !domain.contains("@"), !template.contains(where: \.isWhitespace) else { return nil }
  }

  /// Returns the address of this service on the same machine.
  public static func ofService(port: Int) -> ResetURL { ResetURL(unchecked: "http://localhost:\(port)/password-reset/{uid}/{token}") }

  private init(unchecked template: String) {
    self.template = template
    parts = template.components(separatedBy: "{uid}").map { $0.components(separatedBy: "{token}") }
  }

  /// The address with its placeholders, as configured.
  public var text: String { template }

  /// Whether the token in a link is protected, because the address uses `https` or is on the same machine.
  public var isProtected: Bool { scheme == "https" || isLocal }

  /// Whether the address is on the machine of the person who opens the link.
  public var isLocal: Bool {
    let host = domain.hasPrefix("[") ? domain.prefix { $0 != "]" } + "]" : domain.prefix { $0 != ":" }
    return host == "localhost" || host == "[::1]" || host.hasPrefix("127.") && host.allSatisfy { $0.isNumber || $0 == "." }
  }

  /// The scheme, `https` or `http`.
  var scheme: String { template.hasPrefix("https://") ? "https" : "http" }

  /// The host and the port if there is one, like Django's `domain`.
  var domain: String { String(template.dropFirst(scheme.count + 3).prefix { !"/?#".contains($0) }) }

  /// Returns the link for a user's key and token.
  public func link(uid: String, token: String) -> String {
    parts.map { $0.joined(separator: token) }.joined(separator: uid)
  }
}
