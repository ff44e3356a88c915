import Foundation

/// Detects what came along with a value: line ends, white space, or the syntax of another format.
///
/// Editors, `echo` and Kubernetes secrets add these, often unnoticed. A key with a line end is
/// another key, and makes all links of the Django site next to the service invalid.
enum ValueForm: Equatable {
  case plain
  /// The service refuses the value. The text says what the setting must be.
  case refused(String)
  /// The value may be meant so. The service uses it, and `check` reports the text as a warning.
  case doubtful(String)

  init(of text: String, for name: SettingName) {
    // JSON may have several lines; its own reader refuses everything else.
    self = name.isJSON ? .plain : Self.lineFault(text) ?? Self.syntaxFault(text, name) ?? Self.blankFault(text, name) ?? .plain
  }

  private static func lineFault(_ text: String) -> ValueForm? {
    // U+FEFF is the byte order mark that some editors put before the text.
    let isForbidden = text.unicodeScalars.contains {
      [.control, .lineSeparator, .paragraphSeparator].contains($0.properties.generalCategory) || $0 == "\u{FEFF}"
    }
    return isForbidden ? .refused("must be one line, without line ends or other control characters") : nil
  }

  private static func syntaxFault(_ text: String, _ name: SettingName) -> ValueForm? {
    if name.isSecret, isJSONObject(text) || isAssignment(text, to: name) {
      return .refused("must be the value alone, without its name and not as JSON")
    }
    return nil
  }

  private static func blankFault(_ text: String, _ name: SettingName) -> ValueForm? {
    if text.first?.isWhitespace == true || text.last?.isWhitespace == true {
      return name.isFreeText
        ? .doubtful("begins or ends with white space, which is part of the value")
        : .refused("must not begin or end with white space")
    }
    return nil
  }

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
  /// Whether its value may be any text, so that blanks around it may be meant.
  fileprivate var isFreeText: Bool { isSecret || self == .siteName }
}
