import Mustache

/// A rendered template with gaps for the values that differ between emails.
///
/// Mustache renders a template once for each set of values that are there. After that, an email only needs its values put into the gaps,
/// which gives the same text: a template tests whether there is a value, but has no way to look at it.
struct PreparedText: Sendable {
  /// The values that differ between emails, by the names that a template uses.
  enum Value: Int, CaseIterable {
    case email, time, uid, token, scheme, domain, resetURL, expiresIn, cancelURL
    case username, firstName, lastName, fullName, userEmail, displayName

    /// The names that Mustache knows it by: of a value, or of a member of `user`.
    var names: [String] {
      switch self {
      case .email: ["email"]
      case .time: ["time"]
      case .uid: ["uid"]
      case .token: ["token"]
      case .scheme: ["protocol"]
      case .domain: ["domain"]
      case .resetURL: ["reset_url"]
      case .expiresIn: ["expires_in"]
      case .cancelURL: ["cancel_url"]
      case .username: ["user.username", "user.get_username"]
      case .firstName: ["user.first_name"]
      case .lastName: ["user.last_name"]
      case .fullName: ["user.get_full_name"]
      case .userEmail: ["user.email"]
      case .displayName: ["user.display_name"]
      }
    }
  }

  /// The values of one email. A value that is missing or empty is not there for a section of the template.
  struct Values {
    private var texts = [String](repeating: "", count: Value.allCases.count)

    subscript(_ value: Value) -> String {
      get { texts[value.rawValue] }
      set { texts[value.rawValue] = newValue }
    }

    /// Which values are there, as a set of bits.
    var present: UInt32 { texts.indices.reduce(0) { $0 | (texts[$1].isEmpty ? 0 : 1 << UInt32($1)) } }
  }

  private enum Piece {
    case text(String)
    case value(Value, isEscaped: Bool)
  }

  private let pieces: [Piece]

  /// Characters for private use, the last ones of Unicode, around the number of a value. The ampersand shows whether Mustache escapes
  /// the value.
  private static let mark = (start: "\u{10FFFC}", inside: "&", escaped: "&amp;", end: "\u{10FFFD}")

  /// Renders a template with gaps.
  /// - Parameters:
  ///   - present: The values that are there, as ``Values/present``.
  ///   - constants: The values that are the same for all emails.
  init(_ template: MustacheTemplate, present: UInt32, constants: [String: Any]) {
    let text = template.render(Self.gaps(present).merging(constants) { $1 })
    var pieces: [Piece] = []
    for (index, part) in text.split(separator: Self.mark.start, omittingEmptySubsequences: false).enumerated() {
      // Only the first part has no value before it.
      let halves = index == 0 ? [part] : part.split(separator: Self.mark.end, maxSplits: 1, omittingEmptySubsequences: false)
      if halves.count == 2, let number = Int(halves[0].prefix { $0.isNumber }), let value = Value(rawValue: number) {
        pieces.append(.value(value, isEscaped: halves[0].hasSuffix(Self.mark.escaped)))
      }
      if let text = halves.last, !text.isEmpty { pieces.append(.text(String(text))) }
    }
    self.pieces = pieces
  }

  private static func gaps(_ present: UInt32) -> [String: Any] {
    var values: [String: Any] = [:]
    var user: [String: String] = [:]
    for value in Value.allCases where present & 1 << UInt32(value.rawValue) != 0 {
      for name in value.names {
        let gap = "\(mark.start)\(value.rawValue)\(mark.inside)\(mark.end)"
        if name.hasPrefix("user.") { user[String(name.dropFirst(5))] = gap } else { values[name] = gap }
      }
    }
    values["user"] = user
    return values
  }

  /// Returns the text with the values of one email.
  func text(_ values: Values) -> String {
    var text = ""
    text.reserveCapacity(8 * 1024)
    for piece in pieces {
      switch piece {
      case .text(let constant): text += constant
      case .value(let value, isEscaped: false): text += values[value]
      case .value(let value, isEscaped: true): text += Self.escaped(values[value])
      }
    }
    return text
  }

  private static let escapingTemplate = try? MustacheTemplate(string: "{{% CONTENT_TYPE:HTML}}{{.}}")

  /// Returns the text as Mustache escapes it in HTML.
  private static func escaped(_ text: String) -> String {
    let needsEscape = text.utf8.contains { byte in
      switch byte {
      case UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "&"), UInt8(ascii: "\""), UInt8(ascii: "'"): true
      default: false
      }
    }
    return needsEscape ? escapingTemplate?.render(text) ?? "" : text
  }
}
