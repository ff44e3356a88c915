import Credentials
import Text

extension PasswordValidatorList.Options {
  private static let maximumCount = 1000
  private static let maximumLength = 100

  /// Returns the validator with the names of the site and the operator's own words.
  mutating func contextWords(_ site: SiteWords) throws(PasswordValidatorList.Invalid) -> ContextWordsValidator {
    let minimumLength = try integer("min_word_length", 2...100) ?? 4
    let minimumRest = try integer("min_other_characters", 1...4096) ?? 8
    let lines = try file("words_path")?.split(whereSeparator: \.isNewline) ?? []
    let own = (try strings("words") + lines.map(String.init)).map(\.stripped).filter { !$0.isEmpty }
    if own.count > Self.maximumCount {
      throw invalid("it has more than \(Self.maximumCount) words. CommonPasswordValidator takes a long list, in password_list_path.")
    }
    if own.contains(where: { $0.unicodeScalars.count > Self.maximumLength }) {
      throw invalid("a word has more than \(Self.maximumLength) characters. Write one word per line.")
    }
    if own.contains(where: { $0.unicodeScalars.count < 2 }) { throw invalid("a word has only one character, which most passwords contain.") }
    let words = site.words(minimumLength: minimumLength) + own
    if words.isEmpty { throw invalid("it has no words, because the names of the site are too short. Set SITE_NAME or words.") }
    return ContextWordsValidator(words: words, minimumRest: minimumRest)
  }
}
