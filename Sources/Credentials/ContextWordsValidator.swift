import Foundation
public import Text

/// Refuses a password that consists mostly of words that anyone would try at this site, such as its name.
///
/// An attacker tries such words first, so they count for nothing: the password without them must still be long enough.
/// A passphrase may therefore contain one of the words.
public struct ContextWordsValidator: PasswordValidator {
  /// The words by their first character, all as ``folded(_:)`` returns them.
  private let words: [Unicode.Scalar: [[Unicode.Scalar]]]
  private let minimumRest: Int

  /// Creates a validator.
  /// - Parameters:
  ///   - words: The words. Their case, accents and common substitutions do not matter.
  ///   - minimumRest: How many characters a password with a word must have besides. A run of one character counts once.
  public init(words: [String], minimumRest: Int = 8) {
    let folded = Set(words.map(Self.folded)).filter { !$0.isEmpty }
    self.words = Dictionary(grouping: folded) { $0[0] }
    self.minimumRest = minimumRest
  }

  public var helpText: LocalizableMessage {
    LocalizableMessage("Your password can’t consist mainly of the name of this site or of related words.")
  }

  public func validate(_ password: String, user: UserAttributes) -> FieldError? {
    guard consistsMainlyOfWords(password) else { return nil }
    return FieldError(
      code: "password_contains_context",
      LocalizableMessage("This password consists mainly of the name of this site or of a related word. Such passwords are easy to guess."))
  }

  /// Returns whether the password contains a word, and too little besides.
  private func consistsMainlyOfWords(_ password: String) -> Bool {
    let scalars = Self.folded(password)
    // All words that begin before the position end at or before `wordEnd`.
    var (rest, wordEnd, previous) = (0, 0, Unicode.Scalar?.none)
    for (position, scalar) in scalars.enumerated() {
      for word in words[scalar] ?? [] where scalars[position...].starts(with: word) { wordEnd = max(wordEnd, position + word.count) }
      let isOfWord = position < wordEnd
      if !isOfWord, scalar != previous { rest += 1 }
      // Most passwords end the search here, also a very long one.
      if rest == minimumRest { return false }
      previous = isOfWord ? nil : scalar
    }
    return wordEnd > 0
  }

  /// Returns the text under NFKC and case folding, without accents, and with letters instead of their usual substitutes.
  ///
  /// Only substitutions are undone that are common and leave the shape of the letter: a longer list would find words in passwords
  /// that have none. Because 1 replaces both i and l, these count as one letter.
  private static func folded(_ text: String) -> [Unicode.Scalar] {
    let caseless = String(decoding: text.caselessKey, as: UTF8.self)
    return caseless.decomposedStringWithCanonicalMapping.unicodeScalars.compactMap { scalar in
      switch scalar {
      case "\u{300}"..."\u{36F}": nil
      case "0": "o"
      case "1", "!", "i": "l"
      case "3": "e"
      case "4", "@": "a"
      case "5", "$": "s"
      case "7": "t"
      default: scalar
      }
    }
  }
}
