/// Finds names in a template that mean nothing. Mustache renders such a name as nothing at all, and a mail without its link would be the first sign.
struct TemplateChecker {
  /// The names that a template may use, `user.username` in full.
  let names: Set<String>
  /// Those that this mail may not have: a section may ask for them, and what is in such a section may use them.
  let conditional: Set<String>

  /// What is wrong with the template, and where; nil if all is well.
  func fault(in template: String) -> String? {
    var open: [String] = []
    for tag in template.matches(of: /\{\{\{?([#^\/!>$<%=&]?)\s*(.*?)\s*\}\}/) {
      let line = template[..<tag.range.lowerBound].count(where: \.isNewline) + 1
      let name = Self.argument(of: String(tag.2))
      switch tag.1 {
      case "!", "%": continue
      case "/": _ = open.popLast()
      case ">", "<", "$": return "line \(line): there are no partials"
      case "=": return "line \(line): the delimiters cannot be changed"
      default:
        guard isKnown(name, within: open) || !tag.1.isEmpty && tag.1 != "&" && conditional.contains(name) else {
          return "line \(line): there is no \(name)"
        }
        guard tag.1.isEmpty || tag.1 == "&" || !name.hasPrefix("words.") else { return "line \(line): \(name) is a sentence and has no section" }
        // An inverted section leaves the context as it is.
        if tag.1 == "#" { open.append(name) } else if tag.1 == "^" { open.append("") }
      }
    }
    return nil
  }

  /// `name` of `uppercased(name)`.
  private static func argument(of text: String) -> String {
    guard let start = text.lastIndex(of: "("), let end = text.firstIndex(of: ")"), start < end else { return text }
    return String(text[text.index(after: start)..<end])
  }

  private func isKnown(_ name: String, within sections: [String]) -> Bool {
    name == "." || names.contains(name) || sections.contains { names.contains("\($0).\(name)") }
      || conditional.contains(name) && sections.contains(where: conditional.contains)
  }
}
