/// A plural category of CLDR, which selects the form of a sentence that contains a number.
///
/// Only whole numbers are supported. The rules are from
/// https://www.unicode.org/cldr/charts/latest/supplemental/language_plural_rules.html.
enum PluralCategory: String {
  case zero, one, two, few, many, other

  /// Selects the category of a number.
  /// - Parameter language: A language tag. Languages that are not listed here have the rule of English.
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
