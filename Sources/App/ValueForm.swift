import Foundation

/// Detects what came along with a value: line ends, white space, quotation marks, or the syntax of another format.
///
/// Editors, `echo`, Kubernetes secrets and `docker run --env-file` add these, often unnoticed. A key with a line end is
/// another key, and makes all links of the Django site next to the service invalid.
enum ValueForm: Equatable {
  case plain
  /// The service refuses the value. The text is the rest of a sentence that begins with the name of the setting.
  case refused(String)
  /// The service uses the value, because it may be intended. `check` reports the text as a warning, in the same form.
  case doubtful(String)

  init(of text: String, for name: SettingName) {
    // JSON can have several lines, and its parser refuses everything that is not JSON.
    self = name.isJSON ? .plain : Self.lineError(text) ?? Self.syntaxError(text, name) ?? Self.edgeError(text, name) ?? .plain
  }

  private static func lineError(_ text: String) -> ValueForm? {
    // U+FEFF is the byte order mark that some editors put before the text.
    let isForbidden = text.unicodeScalars.contains {
      [.control, .lineSeparator, .paragraphSeparator].contains($0.properties.generalCategory) || $0 == "\u{FEFF}"
    }
    return isForbidden ? .refused("must be one line, without line ends or other control characters.") : nil
  }

  private static func syntaxError(_ text: String, _ name: SettingName) -> ValueForm? {
    if name.isList, isJSONList(text) { return .refused("must be separated by commas, not a JSON list.") }
    if name.isSecret, isJSONList(text) || isJSONObject(text) || isAssignment(text, to: name) {
      return .refused("must be only the value, without its name and not as JSON.")
    }
    return nil
  }

  private static func edgeError(_ text: String, _ name: SettingName) -> ValueForm? {
    if name.isHost, text.contains(where: { "\"'".contains($0) }) {
      return .refused("must be a name or an address, without quotation marks.")
    }
    let items = name.isList ? text.split(separator: ",").map(String.init) : []
    if ([text] + items).contains(where: isQuoted) {
      return name.isFreeText
        ? .doubtful("begins and ends with a quotation mark, which is part of the value.")
        : .refused("must not begin and end with a quotation mark.")
    }
    if text.first?.isWhitespace == true || text.last?.isWhitespace == true {
      return name.isFreeText
        ? .doubtful("begins or ends with white space, which is part of the value.")
        : .refused("must not begin or end with white space.")
    }
    return nil
  }

  private static func isQuoted(_ text: String) -> Bool {
    text.count > 1 && text.first == text.last && (text.hasPrefix("\"") || text.hasPrefix("'"))
  }

  /// Whether `text` is a list of quoted items in brackets, as JSON and Python write it.
  private static func isJSONList(_ text: String) -> Bool { text.wholeMatch(of: /\s*\[\s*["'].*["']\s*,?\s*\]\s*/) != nil }

  private static func isJSONObject(_ text: String) -> Bool {
    text.first == "{" && (try? JSONSerialization.jsonObject(with: Data(text.utf8))) is [String: Any]
  }

  /// Whether `text` is a line of a shell, `.env`, YAML or Python file that sets `name` or a setting called after it.
  private static func isAssignment(_ text: String, to name: SettingName) -> Bool {
    guard let match = text.prefixMatch(of: /\s*(?:export\s+)?["']?([A-Za-z0-9_]+)["']?\s*[=:]/) else { return false }
    return match.1.uppercased().contains(name.rawValue)
  }
}

extension SettingName {
  /// Whether the value can be any text, so that quotation marks and white space around it may be intended.
  fileprivate var isFreeText: Bool { isSecret && self != .webhookSecret || self == .siteName }

  fileprivate var isHost: Bool { [.httpHost, .adminHost, .emailHost].contains(self) }

  /// Whether the value is a list separated by commas.
  fileprivate var isList: Bool {
    switch self {
    case .trustedProxies, .corsAllowedOrigins, .corsAllowedHeaders, .secretKeyFallbacks, .passwordHasherOptions, .passwordFormatOptions,
      .emailRateLimit:
      true
    case .rateLimitRequests, .rateLimitLinks, .rateLimitMails, .rateLimitMailsTotal: true
    default: false
    }
  }
}
