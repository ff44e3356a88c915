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
      let name = String(tag.2)
      switch tag.1 {
      case "!", "%": continue
      case "/": _ = open.popLast()
      case ">", "<", "$": return "line \(line): there are no partials"
      case "=": return "line \(line): the delimiters cannot be changed"
      default:
        let isSection = tag.1 == "#" || tag.1 == "^"
        guard isKnown(name, within: open) || isSection && conditional.contains(name) else { return "line \(line): there is no \(name)" }
        guard !isSection || !name.hasPrefix("words.") else { return "line \(line): \(name) is a sentence and has no section" }
        guard isSection || name != "user" && (name != "." || !open.isEmpty) else { return "line \(line): \(name) is no text; name what is in it" }
        // An inverted section leaves the context as it is.
        if tag.1 == "#" { open.append(name) } else if tag.1 == "^" { open.append("") }
      }
    }
    return nil
  }

  private func isKnown(_ name: String, within sections: [String]) -> Bool {
    name == "." || names.contains(name) || sections.contains { names.contains("\($0).\(name)") }
      || conditional.contains(name) && sections.contains(where: conditional.contains)
  }
}
