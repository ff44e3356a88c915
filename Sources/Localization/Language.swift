public import Foundation
public import Text

/// A language: its texts of emails and messages, and how it writes durations and times.
public struct Language: Sendable {
  /// The language tag of BCP 47, such as `pt-BR`.
  public let tag: String
  /// The tag of the language that the messages are in. It differs from ``tag`` if there is no translation into this
  /// language.
  public let messagesTag: String
  /// The translations by their English sentences, or `nil` for English.
  private let messages: [String: Translation]?
  /// The sentences of each email, by the name of the email. They are Mustache templates for plain text and HTML.
  public let emails: [String: [String: String]]

  /// A translation, which is one sentence or one for each plural category.
  private enum Translation: Decodable {
    case sentence(String)
    case plural([String: String])

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      // If this fails, the value is an object with a sentence for each plural category.
      if let sentence = try? container.decode(String.self) {
        self = .sentence(sentence)
      } else {
        self = .plural(try container.decode([String: String].self))
      }
    }
  }

  private struct File: Decodable {
    var mail: [String: [String: String]]
    var messages: [String: Translation]?
  }

  /// Reads a language.
  /// - Parameter file: The contents of the language's file in `Languages`.
  init(tag: String, file: [UInt8]) throws {
    let file = try JSONDecoder().decode(File.self, from: Data(file))
    self.tag = tag
    messagesTag = tag
    messages = file.messages
    emails = file.mail
  }

  /// Creates a language that only an operator's templates are in. It has the texts of `fallback`.
  init(tag: String, fallback: Language) {
    self.tag = tag
    messagesTag = fallback.messagesTag
    messages = fallback.messages
    emails = fallback.emails
  }

  /// The writing direction for HTML, `ltr` or `rtl`.
  public var direction: String { Locale.Language(identifier: tag).characterDirection == .rightToLeft ? "rtl" : "ltr" }

  /// Returns the message in this language, or in English if there is no translation.
  public func text(of message: LocalizableMessage) -> String {
    switch messages?[message.key] {
    case .sentence(let sentence): message.interpolate(sentence)
    case .plural(let forms):
      message.interpolate(
        forms[PluralCategory(of: message.count ?? 0, in: messagesTag).rawValue] ?? forms[PluralCategory.other.rawValue] ?? message.english)
    case nil: message.english
    }
  }

  /// Returns a duration in words, in the largest unit without a remainder: `3 days`, `1 hour`, `90 minutes`.
  public func duration(seconds: Int) -> String {
    let units: [(size: Int, unit: Duration.UnitsFormatStyle.Unit)] = [(86400, .days), (3600, .hours), (60, .minutes)]
    let unit = units.first { seconds % $0.size == 0 && seconds >= $0.size }?.unit ?? .seconds
    return Duration.seconds(seconds).formatted(.units(allowed: [unit], width: .wide).locale(locale))
  }

  /// Returns a date and time in words, such as `15 January 2027 at 09:00 CET`.
  public func time(_ date: Date, in zone: TimeZone) -> String {
    date.formatted(Date.FormatStyle(date: .long, time: .shortened, locale: locale, timeZone: zone).timeZone())
  }

  private var locale: Locale { Locale(identifier: tag) }
}
