import CEmbeddedFiles
import Text

/// The available languages, and the choice of one for a request or an email.
public struct Languages: Sendable {
  /// The error for a damaged language file or an unknown language.
  public struct Invalid: Error, CustomStringConvertible {
    /// What is wrong.
    public let description: String
  }

  /// The tags of the built-in languages. To add a language, add a file to `Languages`, its tag here, and both in
  /// `CEmbeddedFiles/embedded-files.c`.
  public static let builtIn = ["en", "ar", "de", "es", "fr", "ja", "pt-BR", "zh-Hans"]

  /// The built-in languages, followed by those that only an operator's templates are in.
  public let all: [Language]
  /// The language that is used if none of the requested languages is available.
  public let `default`: Language

  /// Reads the built-in languages.
  /// - Parameters:
  ///   - tag: `LANGUAGE_CODE`, which must be one of ``builtIn`` or `others`, or a variant of one.
  ///   - others: The languages of an operator's templates.
  public init(default tag: String = "en", others: [String] = []) throws(Invalid) {
    var all: [Language] = []
    for tag in Self.builtIn {
      let file = languageFile(tag)
      do {
        all.append(try Language(tag: tag, file: Array(UnsafeBufferPointer(start: file.start, count: file.count))))
      } catch {
        throw Invalid(description: "cannot read the language file \(tag).json: \(error)")
      }
    }
    for other in others where !all.contains(where: { $0.tag.lowercased() == other.lowercased() }) {
      all.append(Language(tag: other, fallback: Self.best(for: [other, tag], among: all) ?? all[0]))
    }
    guard let chosen = Self.best(for: [tag], among: all) else {
      throw Invalid(description: "there is no language \(tag); choose one of \(all.map(\.tag).joined(separator: ", "))")
    }
    self.all = all
    `default` = chosen
  }

  /// Returns the language that is closest to `tag`, or `nil` if there is none.
  public func match(_ tag: String) -> Language? { Self.best(for: [tag], among: all) }

  /// Returns the language for a request.
  /// - Parameters:
  ///   - locale: The language that the body of the request names, which has precedence.
  ///   - acceptLanguage: The `Accept-Language` header.
  public func choose(locale: String?, acceptLanguage: String?) -> Language {
    let wanted = (locale.map { [$0] } ?? []) + (acceptLanguage.map(Self.ranges) ?? [])
    return Self.best(for: wanted, among: all) ?? `default`
  }

  /// Returns the first of the wanted languages that is available.
  ///
  /// This is the lookup of RFC 4647 section 3.4, which removes subtags from the end. After that, as in Django, any
  /// variant of the same language matches: a reader who asks for `pt` or `zh-TW` understands `pt-BR` or `zh-Hans`
  /// better than English.
  private static func best(for wanted: [String], among all: [Language]) -> Language? {
    // The longest reasonable tag has 35 characters (RFC 5646 section 4.4.1).
    for tag in wanted where tag.utf8.count <= 35 {
      var subtags = tag.lowercased().split { $0 == "-" || $0 == "_" }.map(String.init)
      guard let primary = subtags.first else { continue }
      while !subtags.isEmpty {
        let range = subtags.joined(separator: "-")
        if let language = all.first(where: { $0.tag.lowercased() == range }) { return language }
        subtags.removeLast()
      }
      if let language = all.first(where: { $0.tag.lowercased().hasPrefix(primary + "-") }) { return language }
    }
    return nil
  }

  /// Returns the tags in an `Accept-Language` header (RFC 9110 section 12.5.4), the most wanted first, and skips
  /// malformed items.
  private static func ranges(in header: String) -> [String] {
    // No person reads more languages than this.
    let items = header.split(separator: ",").prefix(32).compactMap { item -> (tag: String, weight: Int)? in
      let parts = item.split(separator: ";", omittingEmptySubsequences: false).map(\.trimmed)
      guard let tag = parts.first, !tag.isEmpty, tag != "*" else { return nil }
      guard let weight = parts.dropFirst().first(where: { $0.hasPrefix("q=") || $0.hasPrefix("Q=") }) else { return (String(tag), 1000) }
      return thousandths(weight.dropFirst(2)).flatMap { $0 > 0 ? (String(tag), $0) : nil }
    }
    return items.enumerated().sorted { ($1.element.weight, $0.offset) < ($0.element.weight, $1.offset) }.map(\.element.tag)
  }

  /// Returns a weight between 0 and 1 with up to three decimals (RFC 9110 section 12.4.2) in thousandths, or `nil` if it is
  /// malformed.
  private static func thousandths(_ weight: Substring) -> Int? {
    let digits = Array(weight.utf8)
    guard let first = digits.first, first == 0x30 || first == 0x31, digits.count <= 5, digits.count == 1 || digits[1] == UInt8(ascii: ".") else {
      return nil
    }
    var value = Int(first - 0x30)
    for index in 2..<5 {
      let digit = index < digits.count ? digits[index] : 0x30
      guard (0x30...0x39).contains(digit) else { return nil }
      value = 10 * value + Int(digit - 0x30)
    }
    return value <= 1000 ? value : nil
  }
}
