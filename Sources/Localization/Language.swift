public import Foundation
public import Text

/// One language: its wording of mails and messages, and its forms of durations and times.
public struct Language: Sendable {
  /// As in BCP 47: `pt-BR`.
  public let tag: String
  /// The language of the messages, which is another one if nobody has translated them into this one.
  public let messagesTag: String
  /// Nil for English, which the code speaks.
  private let messages: [String: Translation]?
  /// The sentences of each mail, by the mail's name: Mustache, for text and HTML alike.
  public let mails: [String: [String: String]]

  /// A translation: one sentence, or one for each plural category.
  private enum Translation: Decodable {
    case sentence(String)
    case plural([String: String])

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      // A try that fails only says that it is the other kind.
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

  /// - Parameter file: the language's file in `Languages`.
  init(tag: String, file: [UInt8]) throws {
    let file = try JSONDecoder().decode(File.self, from: Data(file))
    self.tag = tag
    messagesTag = tag
    messages = file.messages
    mails = file.mail
  }

  /// A language that only an operator's templates speak; for the rest it is as `fallback`.
  init(tag: String, fallback: Language) {
    self.tag = tag
    messagesTag = fallback.messagesTag
    messages = fallback.messages
    mails = fallback.mails
  }

  /// `ltr` or `rtl`.
  public var direction: String { Locale.Language(identifier: tag).characterDirection == .rightToLeft ? "rtl" : "ltr" }

  /// The sentence in this language, or in English if it has no translation.
  public func text(of message: LocalizableMessage) -> String {
    switch messages?[message.key] {
    case .sentence(let sentence): message.interpolate(sentence)
    case .plural(let forms):
      message.interpolate(
        forms[PluralCategory(of: message.count ?? 0, in: messagesTag).rawValue] ?? forms[PluralCategory.other.rawValue] ?? message.english)
    case nil: message.english
    }
  }

  /// `3 days`, `1 hour`, `90 minutes`: in the largest unit that comes out even.
  public func duration(seconds: Int) -> String {
    let units: [(size: Int, unit: Duration.UnitsFormatStyle.Unit)] = [(86400, .days), (3600, .hours), (60, .minutes)]
    let unit = units.first { seconds % $0.size == 0 && seconds >= $0.size }?.unit ?? .seconds
    return Duration.seconds(seconds).formatted(.units(allowed: [unit], width: .wide).locale(locale))
  }

  /// `15 January 2027 at 09:00 CET`.
  public func time(_ date: Date, in zone: TimeZone) -> String {
    date.formatted(Date.FormatStyle(date: .long, time: .shortened, locale: locale, timeZone: zone).timeZone())
  }

  private var locale: Locale { Locale(identifier: tag) }
}
