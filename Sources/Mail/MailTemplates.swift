public import Foundation
public import Localization
import Mustache
public import PasswordReset
import Synchronization

/// Gives mails their words: Mustache templates with Django's names and context, in the reader's language.
///
/// Values are escaped in HTML and nowhere else; Mustache renders values and never evaluates them, so a user name cannot act as a template.
public struct MailTemplates: EmailComposer {
  /// A template that cannot be used, and why.
  public struct Invalid: Error, CustomStringConvertible {
    public let description: String
  }

  /// A value of `EMAIL_EXTRA_CONTEXT`.
  public enum Value: Sendable, Equatable {
    case text(String), number(Double), flag(Bool)

    fileprivate var any: Any {
      switch self {
      case .text(let text): text
      case .number(let number): Int(exactly: number).map { $0 as Any } ?? number
      case .flag(let flag): flag
      }
    }
  }

  /// The texts of one mail in one language.
  private struct Texts {
    var subject: MustacheTemplate
    var body: MustacheTemplate
    /// Nil if there is none: an operator's empty file turns it off.
    var html: MustacheTemplate?
    /// Of the language.
    var direction: String
  }

  /// What cannot be replaced by an `EMAIL_EXTRA_CONTEXT`: it belongs to the one mail.
  public static let reserved: Set = ["email", "user", "uid", "token", "reset_url", "expires_in", "time", "language", "direction", "words"]

  private let languages: Languages
  private let siteName: String
  private let sender: String
  private let messageDomain: String
  private let timeZone: TimeZone
  private let extraContext: [String: Value]
  private let folder: TemplateFolder
  private let cache = Cache()

  /// Reads and checks an operator's templates. Those built in are read when they are first used, to start quickly.
  /// - Parameters:
  ///   - siteName: `SITE_NAME`.
  ///   - sender: `DEFAULT_FROM_EMAIL`.
  ///   - folder: the templates of `EMAIL_TEMPLATES_DIR`, which go before those here.
  ///   - extraContext: `EMAIL_EXTRA_CONTEXT`.
  ///   - timeZone: of the times in mails.
  public init(
    languages: Languages, siteName: String, sender: String, folder: TemplateFolder = .none, extraContext: [String: Value] = [:],
    timeZone: TimeZone = .gmt
  ) throws(Invalid) {
    self.languages = languages
    self.siteName = siteName
    self.sender = sender
    self.timeZone = timeZone
    self.extraContext = extraContext
    messageDomain = MIMEEncoder.address(of: sender)?.split(separator: "@").last.map(String.init) ?? "localhost"
    self.folder = folder
    for language in languages.all {
      for kind in MailContext.Kind.allCases where folder.hasText(kind, language: language.tag) { _ = try texts(kind, language) }
    }
  }

  /// Writes the mail that `context` asks for.
  public func compose(_ context: MailContext) -> EmailMessage {
    let language = context.locale.flatMap(languages.match) ?? languages.default
    let texts: Texts
    do {
      texts = try self.texts(context.kind, language)
    } catch {
      // Only those built in are read so late, and each of them is tested.
      preconditionFailure("\(error)")
    }
    let values = values(for: context, language, direction: texts.direction)
    return EmailMessage(
      sender: sender, recipient: context.recipient, subject: texts.subject.render(values).filter { !$0.isNewline }, body: texts.body.render(values),
      html: texts.html?.render(values), language: language.tag, resetURL: context.link?.url, messageID: "\(context.messageKey)@\(messageDomain)",
      date: context.date)
  }

  /// Django's context for its reset mail, and more beside it.
  private func values(for context: MailContext, _ language: Language, direction: String) -> [String: Any] {
    let user = context.user
    let fullName = [user.firstName, user.lastName].filter { !$0.isEmpty }.joined(separator: " ")
    // An empty name is left out, so that `{{#user.first_name}}` asks whether there is one.
    let person = [
      "username": user.username, "get_username": user.username, "first_name": user.firstName, "last_name": user.lastName,
      "get_full_name": fullName, "email": user.email,
    ].filter { !$0.value.isEmpty }
    var values: [String: Any] = [
      "email": context.recipient, "site_name": siteName, "user": person, "time": time(context.time, language),
      "language": language.tag, "direction": direction,
    ]
    if let link = context.link {
      values["uid"] = link.uid
      values["token"] = link.token
      values["protocol"] = link.scheme
      values["domain"] = link.domain
      values["reset_url"] = link.url
      values["expires_in"] = remembered("\(language.tag) \(link.lifetime) s") { language.duration(seconds: link.lifetime) }
    }
    return values.merging(extraContext.mapValues(\.any)) { $1 }
  }

  /// Told to the minute.
  private func time(_ time: Date, _ language: Language) -> String {
    remembered("\(language.tag) \((time.timeIntervalSince1970 / 60).rounded(.down)) min") { language.time(time, in: timeZone) }
  }

  /// Words that Foundation's formatters take long to find, and that many mails share.
  private func remembered(_ key: String, _ words: () -> String) -> String {
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
  private static let contextNames: Set = [
    "email", "site_name", "time", "language", "direction", "user", "user.username", "user.get_username", "user.first_name", "user.last_name",
    "user.get_full_name", "user.email",
  ]
  private static let linkNames: Set = ["uid", "token", "protocol", "domain", "reset_url", "expires_in"]

  /// What was read and worded before: the templates, of which there are few, and words.
  private final class Cache: Sendable {
    static let limit = 100
    let texts = Mutex<[String: Texts]>([:])
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
    let checker = TemplateChecker(names: kind == .passwordReset ? names.union(linkNames) : names, conditional: linkNames.union(allWords))
    func template(_ part: TemplateFolder.Part) throws(Invalid) -> MustacheTemplate {
      let contentType = part == .html ? "HTML" : "TEXT"
      guard let (text, origin) = folder.text(kind, part, language: language.tag) else {
        return try parse(insert(words, into: part.builtIn), as: contentType, "the template of \(kind.rawValue)")
      }
      if let fault = checker.fault(in: text) { throw Invalid(description: "\(origin), \(fault)") }
      return try parse(insert(words, into: text), as: contentType, origin)
    }
    let isWithoutHTML = folder.text(kind, .html, language: language.tag)?.0.allSatisfy(\.isWhitespace) == true
    return Texts(
      subject: try template(.subject), body: try template(.body), html: isWithoutHTML ? nil : try template(.html),
      direction: language.direction)
  }

  /// Puts the sentences in the places that name them: they are Mustache too, and are escaped as what is around them.
  private static func insert(_ words: [String: String], into text: String) -> String {
    text.replacing(/\{\{[{&]?\s*words\.([a-z_]+)\s*\}?\}\}/) { match in words[String(match.1)] ?? "" }
  }

  private static func parse(_ text: String, as contentType: String, _ origin: String) throws(Invalid) -> MustacheTemplate {
    do {
      return try MustacheTemplate(string: "{{% CONTENT_TYPE:\(contentType)}}" + text)
    } catch let error as MustacheTemplate.ParserError {
      throw Invalid(
        description: "\(origin), line \(error.context.lineNumber): a section or a tag is not closed, or not as it was opened (\(error.error))")
    } catch {
      throw Invalid(description: "\(origin): \(error)")
    }
  }
}
