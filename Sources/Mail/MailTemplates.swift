public import Foundation
public import Localization
import Mustache
public import PasswordReset
import Synchronization

/// Composes emails in the reader's language from Mustache templates with Django's names and context.
///
/// Values are escaped in HTML only. Mustache renders values and never evaluates them, so a user name cannot act as a
/// template.
public struct MailTemplates: EmailComposer {
  /// The error for a template that cannot be used.
  public struct Invalid: Error, CustomStringConvertible {
    /// The file, the line and what is wrong.
    public let description: String
  }

  /// A value of `EMAIL_EXTRA_CONTEXT`.
  public enum Value: Sendable, Equatable {
    /// A string.
    case text(String)
    /// A number.
    case number(Double)
    /// A truth value, which a section can test.
    case flag(Bool)

    fileprivate var any: Any {
      switch self {
      case .text(let text): text
      case .number(let number): Int(exactly: number).map { $0 as Any } ?? number
      case .flag(let flag): flag
      }
    }
  }

  /// The templates of one email in one language.
  private struct Texts {
    var subject: MustacheTemplate
    var body: MustacheTemplate
    /// The HTML part, or `nil` if an operator's empty file turns it off.
    var html: MustacheTemplate?
    /// The writing direction of the language.
    var direction: String
  }

  /// The texts of one email in one language, with gaps for its values.
  private struct Prepared {
    var subject: PreparedText
    var body: PreparedText
    var html: PreparedText?
  }

  private struct PreparedKey: Hashable {
    var language: String
    var kind: MailContext.Kind
    var present: UInt32
  }

  /// The names that `EMAIL_EXTRA_CONTEXT` cannot replace, because their values differ between emails.
  public static let reserved: Set = [
    "email", "user", "uid", "token", "reset_url", "cancel_url", "expires_in", "time", "language", "direction", "words",
  ]

  private let languages: Languages
  private let siteName: String
  private let sender: String
  private let messageDomain: String
  private let timeZone: TimeZone
  private let extraContext: [String: Value]
  private let folder: TemplateFolder
  private let cache = Cache()

  /// Reads and checks an operator's templates. The built-in templates are read on first use, so that the service starts
  /// quickly.
  /// - Parameters:
  ///   - languages: The languages of the emails.
  ///   - siteName: `SITE_NAME`.
  ///   - sender: `DEFAULT_FROM_EMAIL`.
  ///   - folder: The templates of `EMAIL_TEMPLATES_DIR`, which have precedence over the built-in ones.
  ///   - extraContext: `EMAIL_EXTRA_CONTEXT`.
  ///   - timeZone: The time zone of the times in emails.
  public init(
    languages: Languages, siteName: String, sender: String, folder: TemplateFolder = .none, extraContext: [String: Value] = [:],
    timeZone: TimeZone = .gmt
  ) throws(Invalid) {
    self.languages = languages
    self.siteName = siteName
    self.sender = sender
    self.timeZone = timeZone
    self.extraContext = extraContext
    messageDomain = Sender.domain(of: sender)
    self.folder = folder
    for language in languages.all {
      for kind in MailContext.Kind.allCases where folder.hasText(kind, language: language.tag) {
        _ = try texts(kind, language)
        try checkRendering(kind, language)
      }
    }
  }

  /// Returns the email with the facts in `context`.
  public func compose(_ context: MailContext) -> EmailMessage {
    let language = context.locale.flatMap(languages.match) ?? languages.default
    let texts: Texts
    do {
      texts = try self.texts(context.kind, language)
    } catch {
      // Only built-in templates are read here for the first time, and the tests read each of them.
      preconditionFailure("\(error)")
    }
    let values = values(for: context, language)
    let prepared = prepared(texts, context.kind, language, present: values.present)
    var message = EmailMessage(
      sender: sender, recipient: context.recipient, subject: prepared.subject.text(values).filter { !$0.isNewline },
      body: prepared.body.text(values), messageID: "\(context.messageKey)@\(messageDomain)", date: context.date)
    message.html = prepared.html?.text(values)
    message.language = language.tag
    message.resetURL = context.link?.url
    message.cancelURL = context.cancelURL
    return message
  }

  /// Returns the values of one email, which are those of Django's reset email and some more.
  private func values(for context: MailContext, _ language: Language) -> PreparedText.Values {
    let user = context.user
    var values = PreparedText.Values()
    values[.email] = context.recipient
    values[.time] = time(context.time, language)
    values[.username] = user.username
    values[.firstName] = user.firstName
    values[.lastName] = user.lastName
    values[.fullName] = [user.firstName, user.lastName].filter { !$0.isEmpty }.joined(separator: " ")
    values[.userEmail] = user.email
    values[.displayName] = DisplayName.of(user)
    if let link = context.link {
      values[.uid] = link.uid
      values[.token] = link.token
      values[.scheme] = link.scheme
      values[.domain] = link.domain
      values[.resetURL] = link.url
      values[.expiresIn] = cached("\(language.tag) \(link.lifetime) s") { language.duration(seconds: link.lifetime) }
    }
    values[.cancelURL] = context.cancelURL ?? ""
    return values
  }

  private func prepared(_ texts: Texts, _ kind: MailContext.Kind, _ language: Language, present: UInt32) -> Prepared {
    let key = PreparedKey(language: language.tag, kind: kind, present: present)
    if let prepared = cache.prepared.withLock({ $0[key] }) { return prepared }
    let constants = extraContext.mapValues(\.any).merging(
      ["site_name": siteName, "language": language.tag, "direction": texts.direction]
    ) { extra, _ in extra }
    func prepare(_ template: MustacheTemplate) -> PreparedText { PreparedText(template, present: present, constants: constants) }
    let prepared = Prepared(subject: prepare(texts.subject), body: prepare(texts.body), html: texts.html.map(prepare))
    cache.prepared.withLock { $0[key] = prepared }
    return prepared
  }

  /// Returns the time in words, to the minute.
  private func time(_ time: Date, _ language: Language) -> String {
    cached("\(language.tag) \((time.timeIntervalSince1970 / 60).rounded(.down)) min") { language.time(time, in: timeZone) }
  }

  /// Returns words from the cache, because Foundation's formatters are slow and many emails share the same words.
  private func cached(_ key: String, _ words: () -> String) -> String {
    if let words = cache.words.withLock({ $0[key] }) { return words }
    let words = words()
    cache.words.withLock { known in
      if known.count >= Cache.limit { known = [:] }
      known[key] = words
    }
    return words
  }
}

extension MailTemplates {
  /// Checks the parts that an operator's templates make, with and without the names that not every user has.
  private func checkRendering(_ kind: MailContext.Kind, _ language: Language) throws(Invalid) {
    for context in RenderedEmailChecker.samples(kind, language) {
      let email = compose(context)
      for (part, text) in [(TemplateFolder.Part.subject, email.subject), (.body, email.body), (.html, email.html ?? "")] {
        guard let (template, origin) = folder.text(kind, part, language: language.tag) else { continue }
        if part == .html, template.allSatisfy(\.isWhitespace) { continue }
        if let error = RenderedEmailChecker(link: context.link).error(in: text, part) { throw Invalid(description: "\(origin) \(error)") }
      }
    }
  }

  private static let contextNames: Set = [
    "email", "site_name", "time", "language", "direction", "user", "user.username", "user.get_username", "user.first_name", "user.last_name",
    "user.get_full_name", "user.email", "user.display_name",
  ]
  private static let linkNames: Set = ["uid", "token", "protocol", "domain", "reset_url", "expires_in"]

  /// Keeps the templates and the prepared texts, of which there are few, and formatted durations and times.
  private final class Cache: Sendable {
    static let limit = 100
    let texts = Mutex<[String: Texts]>([:])
    let prepared = Mutex<[PreparedKey: Prepared]>([:])
    let words = Mutex<[String: String]>([:])
  }

  private func texts(_ kind: MailContext.Kind, _ language: Language) throws(Invalid) -> Texts {
    let key = "\(language.tag)/\(kind.rawValue)"
    if let texts = cache.texts.withLock({ $0[key] }) { return texts }
    let texts = try Self.read(kind, language, folder, extra: Set(extraContext.keys))
    cache.texts.withLock { $0[key] = texts }
    return texts
  }

  private static func read(_ kind: MailContext.Kind, _ language: Language, _ folder: TemplateFolder, extra: Set<String>) throws(Invalid) -> Texts {
    let words = language.emails[kind.rawValue] ?? [:]
    let names = contextNames.union(words.keys.map { "words.\($0)" }).union(extra)
    let allWords = language.emails.values.flatMap(\.keys).map { "words.\($0)" }
    let checker = TemplateChecker(
      names: kind == .passwordReset ? names.union(linkNames) : names, conditional: linkNames.union(allWords).union(["cancel_url"]))
    func template(_ part: TemplateFolder.Part) throws(Invalid) -> MustacheTemplate {
      let contentType = part == .html ? "HTML" : "TEXT"
      guard let (text, origin) = folder.text(kind, part, language: language.tag) else {
        return try parse(insert(words, into: part.builtIn), as: contentType, "the built-in template of \(kind.rawValue)")
      }
      if let error = checker.error(in: text) { throw Invalid(description: "\(origin), \(error)") }
      return try parse(insert(words, into: text), as: contentType, origin)
    }
    let isWithoutHTML = folder.text(kind, .html, language: language.tag)?.0.allSatisfy(\.isWhitespace) == true
    return Texts(
      subject: try template(.subject), body: try template(.body), html: isWithoutHTML ? nil : try template(.html),
      direction: language.direction)
  }

  /// Replaces the names of sentences with the sentences. They are Mustache templates themselves and are escaped like
  /// the text around them.
  private static func insert(_ words: [String: String], into text: String) -> String {
    text.replacing(/\{\{[{&]?\s*words\.([a-z_]+)\s*\}?\}\}/) { match in words[String(match.1)] ?? "" }
  }

  private static func parse(_ text: String, as contentType: String, _ origin: String) throws(Invalid) -> MustacheTemplate {
    do {
      return try MustacheTemplate(string: "{{% CONTENT_TYPE:\(contentType)}}" + text)
    } catch let error as MustacheTemplate.ParserError {
      throw Invalid(
        description: "\(origin), line \(error.context.lineNumber): a section or a tag is not closed, or is closed by another name (\(error.error))")
    } catch {
      throw Invalid(description: "\(origin): \(error)")
    }
  }
}
