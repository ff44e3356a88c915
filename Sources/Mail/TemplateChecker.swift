import Foundation

/// Finds unknown names in a template.
///
/// Mustache renders an unknown name as an empty text, so without this check a mistake would only show in an email
/// without its link.
struct TemplateChecker {
  /// Far more levels than an email needs. Mustache calls itself for each of them, and thousands overflow the stack.
  private static let maximumDepth = 32

  /// The names that a template may use, in full, such as `user.username`.
  let names: Set<String>
  /// The names that some emails do not have. A section may test for them, and only the contents of such a section may
  /// use them.
  let conditional: Set<String>

  /// Returns the line and description of the first error in the template, or `nil` if there is none.
  func error(in template: String) -> String? {
    if let error = Self.foreignTag(in: template) { return error }
    var open: [String] = []
    var rest = template[...]
    // A regular expression takes the square of the length for braces that are never closed.
    while let start = rest.firstRange(of: "{{"), let end = rest[start.upperBound...].firstRange(of: "}}") {
      if let error = error(inTag: rest[start.upperBound..<end.lowerBound], &open) { return Self.line(of: start, in: template) + error }
      rest = rest[end.upperBound...]
    }
    return nil
  }

  /// Returns the description of the error in a tag, or `nil` if there is none.
  /// - Parameters:
  ///   - tag: What is between the braces.
  ///   - open: The sections around the tag.
  private func error(inTag tag: Substring, _ open: inout [String]) -> String? {
    let tag = tag.first == "{" ? tag.dropFirst() : tag
    let kind = tag.first.flatMap { "#^/!>$<%=&".contains($0) ? $0 : nil }
    let name = tag.dropFirst(kind == nil ? 0 : 1).trimmingCharacters(in: .whitespacesAndNewlines)
    switch kind {
    case "!", "%": return nil
    case "/":
      _ = open.popLast()
      return nil
    case ">", "<", "$": return "partials are not supported"
    case "=": return "the delimiters cannot be changed"
    default:
      let isSection = kind == "#" || kind == "^"
      guard isKnown(name, within: open) || isSection && conditional.contains(name) else {
        let remedy = conditional.contains(name) ? " outside of {{#\(name)}}…{{/\(name)}}" : ""
        return "there is no \(name.prefix(80))\(remedy)"
      }
      guard !isSection || !name.hasPrefix("words.") else { return "\(name) is a sentence and cannot be a section" }
      guard isSection || name != "user" && (name != "." || !open.isEmpty) else { return "\(name) is not a text; name a member of it" }
      guard !isSection || open.count < Self.maximumDepth else { return "sections are nested deeper than \(Self.maximumDepth) levels" }
      // An inverted section does not change the context.
      if isSection { open.append(kind == "#" ? name : "") }
      return nil
    }
  }

  /// Returns the line and description of the first tag of another template language, or `nil` if there is none.
  ///
  /// Django's templates have the same file names, and people would receive their tags as text. A style sheet may contain `{#`, so
  /// a comment must be complete.
  private static func foreignTag(in template: String) -> String? {
    // The second brace of `{{#` begins no tag, and `{{=<%` has an error of another kind.
    let template = template.replacing("{{=<%", with: "").replacing("{{", with: "")
    let comment = template.firstRange(of: "{#").flatMap { template[$0.upperBound...].contains("#}") ? $0 : nil }
    let tag = template.firstRange(of: /\{%|<%|\$\{[A-Za-z_]/)
    guard let first = [comment, tag].compactMap(\.self).min(by: { $0.lowerBound < $1.lowerBound }) else { return nil }
    return line(of: first, in: template) + "\(template[first].prefix(2)) begins a tag of another template language; templates are written in Mustache"
  }

  private static func line(of place: Range<String.Index>, in template: String) -> String {
    "line \(template[..<place.lowerBound].count(where: \.isNewline) + 1): "
  }

  private func isKnown(_ name: String, within sections: [String]) -> Bool {
    name == "." || names.contains(name) || sections.contains { names.contains("\($0).\(name)") }
      || conditional.contains(name) && sections.contains(where: conditional.contains)
  }
}
