/// The languages there are, and which of them a person gets.
public struct Languages: Sendable {
  /// A language whose file is not as it must be.
  public struct Invalid: Error, CustomStringConvertible {
    public let description: String
  }

  /// Those that have wording of our own. A new one is a file in `Languages` and a line here.
  private static let files: KeyValuePairs = [
    "en": PackageResources.en_json, "ar": PackageResources.ar_json, "de": PackageResources.de_json, "es": PackageResources.es_json,
    "fr": PackageResources.fr_json, "ja": PackageResources.ja_json, "pt-BR": PackageResources.pt_BR_json, "zh-Hans": PackageResources.zh_Hans_json,
  ]

  /// The tags of the languages with wording of our own.
  public static var builtIn: [String] { files.map(\.key) }

  public let all: [Language]
  public let `default`: Language

  /// - Parameters:
  ///   - tag: `LANGUAGE_CODE`; must be one of ``builtIn``, or of `others`, or a variant of one.
  ///   - others: languages of an operator's templates.
  public init(default tag: String = "en", others: [String] = []) throws(Invalid) {
    var all: [Language] = []
    for (tag, file) in Self.files {
      do { all.append(try Language(tag: tag, file: file)) } catch { throw Invalid(description: "the language file \(tag).json: \(error)") }
    }
    for other in others where !all.contains(where: { $0.tag.lowercased() == other.lowercased() }) {
      all.append(Language(tag: other, fallback: Self.best(for: [other, tag], among: all) ?? all[0]))
    }
    guard let chosen = Self.best(for: [tag], among: all) else {
      throw Invalid(description: "there is no language \(tag); there are \(all.map(\.tag).joined(separator: ", "))")
    }
    self.all = all
    `default` = chosen
  }

  /// The language that comes nearest to `tag`; nil if none does.
  public func match(_ tag: String) -> Language? { Self.best(for: [tag], among: all) }

  /// The language for a request.
  /// - Parameters:
  ///   - locale: what was asked for by name; it goes first.
  ///   - acceptLanguage: the header of that name.
  public func choose(locale: String?, acceptLanguage: String?) -> Language {
    let wanted = (locale.map { [$0] } ?? []) + (acceptLanguage.map(Self.ranges) ?? [])
    return Self.best(for: wanted, among: all) ?? `default`
  }

  /// The first of `wanted` that there is: the lookup of RFC 4647 section 3.4, which drops subtags from the end, and then, as in Django, any
  /// variant of the same language: whoever asks for `pt` or `zh-TW` is better served by `pt-BR` or `zh-Hans` than by English.
  private static func best(for wanted: [String], among all: [Language]) -> Language? {
    // RFC 5646 section 4.4.1 counts 35 characters for the longest sensible tag.
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

  /// The tags in an `Accept-Language` header (RFC 9110 section 12.5.4), the most wanted first. What is not well-formed is passed over.
  private static func ranges(in header: String) -> [String] {
    // More than these are no person's languages.
    let items = header.split(separator: ",").prefix(32).compactMap { item -> (tag: String, weight: Double)? in
      let parts = item.split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" } }
      guard let tag = parts.first, tag != "*" else { return nil }
      guard let weight = parts.dropFirst().first(where: { $0.hasPrefix("q=") }) else { return (tag, 1) }
      return Double(weight.dropFirst(2)).flatMap { $0 > 0 && $0 <= 1 ? (tag, $0) : nil }
    }
    return items.enumerated().sorted { ($1.element.weight, $0.offset) < ($0.element.weight, $1.offset) }.map(\.element.tag)
  }
}
