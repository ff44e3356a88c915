/// The forms that a language has for numbers of things: the plural categories of CLDR, for whole numbers.
/// https://www.unicode.org/cldr/charts/latest/supplemental/language_plural_rules.html
enum PluralCategory: String {
  case zero, one, two, few, many, other

  /// - Parameter language: a tag; one that is not listed has the rule of English.
  init(of count: Int, in language: String) {
    switch language.prefix(while: { $0 != "-" }) {
    case "ja", "zh": self = .other
    case "fr", "pt": self = count <= 1 ? .one : .other
    case "ar": self = Self.arabic(count)
    default: self = count == 1 ? .one : .other
    }
  }

  private static func arabic(_ count: Int) -> PluralCategory {
    switch (count, count % 100) {
    case (0, _): .zero
    case (1, _): .one
    case (2, _): .two
    case (_, 3...10): .few
    case (_, 11...99): .many
    default: .other
    }
  }
}
