import Foundation
import Text

/// The address of the links in emails, with the placeholders `{uid}` and `{token}`.
///
/// It is `RESET_URL`, a page of the frontend, or an address of this service. It never depends on the `Host` of a
/// request, because then a stranger could have tokens sent to their own site.
public struct ResetURL: Sendable {
  private let template: String
  /// The template, split at `{uid}` and then at `{token}`, so that this is not done for every email.
  private let parts: [[String]]

  /// Why a text cannot be the address of the links.
  public enum Fault: Error, Sendable {
    /// The scheme is neither `https` nor `http`.
    case scheme
    /// `{uid}` or `{token}` is missing, or is in the host.
    case placeholders
    /// Braces, or the `$` or `%` of another template syntax, would stay in the links.
    case templateSyntax
    /// The host or the port is missing or malformed, or there is a user name.
    case host
    /// A character, such as a space or a quotation mark, cannot be part of a URL.
    case character
  }

  /// Creates the address from `RESET_URL`, or returns `nil` unless it is an `http` or `https` URL with both
  /// placeholders.
  public init?(_ template: String) {
    guard Self.fault(in: template) == nil else { return nil }
    self.init(unchecked: template)
  }

  /// Returns why the text cannot be the address of the links, or `nil` if it can.
  public static func fault(in template: String) -> Fault? {
    guard template.hasPrefix("https://") || template.hasPrefix("http://") else { return .scheme }
    let rest = template.replacing("{uid}", with: "").replacing("{token}", with: "")
    if rest.contains(where: { "{}".contains($0) }) {
      return template.contains("{uid}") && template.contains("{token}") ? .templateSyntax : .placeholders
    }
    guard template.contains("{uid}"), template.contains("{token}") else { return .placeholders }
    if template.contains(/[$%]\{/) { return .templateSyntax }
    if template.unicodeScalars.contains(where: { $0.properties.isWhitespace || $0.value < 0x21 || "\"<>\\^`|\u{7F}".unicodeScalars.contains($0) }) {
      return .character
    }
    let domain = ResetURL(unchecked: template).domain
    if domain.contains("{") { return .placeholders }
    return HostName.isAuthority(domain) ? nil : .host
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
  public var domain: String { String(template.dropFirst(scheme.count + 3).prefix { !"/?#".contains($0) }) }

  /// Returns the link for a user's key and token.
  public func link(uid: String, token: String) -> String {
    parts.map { $0.joined(separator: token) }.joined(separator: uid)
  }
}
