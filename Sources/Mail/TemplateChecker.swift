/// Finds unknown names in a template.
///
/// Mustache renders an unknown name as an empty text, so without this check a mistake would only show in an email
/// without its link.
struct TemplateChecker {
  /// The names that a template may use, in full, such as `user.username`.
  let names: Set<String>
  /// The names that some emails do not have. A section may test for them, and only the contents of such a section may
  /// use them.
  let conditional: Set<String>

  /// Returns the line and description of the first error in the template, or `nil` if there is none.
  func error(in template: String) -> String? {
    if let error = Self.foreignTag(in: template) { return error }
    var open: [String] = []
    for tag in template.matches(of: /\{\{\{?([#^\/!>$<%=&]?)\s*(.*?)\s*\}\}/) {
      let line = template[..<tag.range.lowerBound].count(where: \.isNewline) + 1
      let name = String(tag.2)
      switch tag.1 {
      case "!", "%": continue
      case "/": _ = open.popLast()
      case ">", "<", "$": return "line \(line): partials are not supported"
      case "=": return "line \(line): the delimiters cannot be changed"
      default:
        let isSection = tag.1 == "#" || tag.1 == "^"
        guard isKnown(name, within: open) || isSection && conditional.contains(name) else {
          let remedy = conditional.contains(name) ? " outside of {{#\(name)}}…{{/\(name)}}" : ""
          return "line \(line): there is no \(name)\(remedy)"
        }
        guard !isSection || !name.hasPrefix("words.") else { return "line \(line): \(name) is a sentence and cannot be a section" }
        guard isSection || name != "user" && (name != "." || !open.isEmpty) else { return "line \(line): \(name) is not a text; name a member of it" }
        // An inverted section does not change the context.
        if tag.1 == "#" { open.append(name) } else if tag.1 == "^" { open.append("") }
      }
    }
    return nil
  }

  /// Returns the line and description of the first tag of another template language, or `nil` if there is none.
  ///
  /// Django's templates have the same file names, and people would receive their tags as text. A style sheet may contain `{#`, so
  /// a comment must be complete.
  private static func foreignTag(in template: String) -> String? {
    // The second brace of `{{#` begins no tag, and `{{=<%` has an error of another kind.
    let template = template.replacing("{{=<%", with: "").replacing("{{", with: "")
    guard let tag = template.firstMatch(of: /\{%|<%|\$\{[A-Za-z_]|\{\#(?s:.)*?\#\}/) else { return nil }
    let line = template[..<tag.range.lowerBound].count(where: \.isNewline) + 1
    return "line \(line): \(tag.0.prefix(2)) begins a tag of another template language; templates are written in Mustache"
  }

  private func isKnown(_ name: String, within sections: [String]) -> Bool {
    name == "." || names.contains(name) || sections.contains { names.contains("\($0).\(name)") }
      || conditional.contains(name) && sections.contains(where: conditional.contains)
  }
}
