import Foundation
import Logging

/// Makes log lines: one JSON object a line, or text for a person.
struct LineLogHandler: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level
  private let format: LogSettings.Format
  private let isColoured: Bool
  private let writer: LogWriter

  init(_ settings: LogSettings, writer: LogWriter) {
    logLevel = settings.level
    format = settings.format
    isColoured = settings.isColoured
    self.writer = writer
  }

  subscript(metadataKey key: String) -> Logger.MetadataValue? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var fields = metadata.merging(event.metadata ?? [:]) { _, new in new }.mapValues { "\($0)" }
    if let error = event.error { fields["error"] = "\(error)" }
    // One call, so that lines of several threads do not mix.
    writer.write(Self.line(event.level, "\(event.message)", fields, format, isColoured: isColoured))
  }

  fileprivate static func line(
    _ level: Logger.Level, _ message: String, _ fields: [String: String], _ format: LogSettings.Format, isColoured: Bool
  ) -> Data {
    switch format {
    case .json: json(level, message, fields)
    case .text: text(level, message, fields, isColoured: isColoured)
    }
  }

  private static func json(_ level: Logger.Level, _ message: String, _ fields: [String: String]) -> Data {
    let line = fields.merging(["time": time(), "level": level.rawValue, "message": message]) { _, ours in ours }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Texts alone are encoded, which cannot fail.
    return ((try? encoder.encode(line)) ?? Data("{}".utf8)) + Data("\n".utf8)
  }

  private static func text(_ level: Logger.Level, _ message: String, _ fields: [String: String], isColoured: Bool) -> Data {
    let pairs = fields.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
    // What a request put into a value must not look like a line of its own, nor move the cursor.
    let line = printable("\(message)\(pairs)")
    return Data("\(time()) \(word(for: level, isColoured: isColoured)) \(line)\n".utf8)
  }

  private static func word(for level: Logger.Level, isColoured: Bool) -> String {
    let word = level.rawValue.uppercased()
    guard isColoured else { return word }
    return switch level {
    case .error, .critical: "\u{1B}[31m\(word)\u{1B}[0m"
    case .warning: "\u{1B}[33m\(word)\u{1B}[0m"
    default: word
    }
  }

  private static func time() -> String { Date().ISO8601Format(.init(includingFractionalSeconds: true, timeZone: .gmt)) }
}

extension LogWriter {
  convenience init(_ settings: LogSettings) {
    self.init { count in
      LineLogHandler.line(
        .warning, "\(count) log lines were lost because the reader of the log stalled", [:], settings.format, isColoured: settings.isColoured)
    }
  }
}

extension Logger {
  init(_ settings: LogSettings, writer: LogWriter) { self.init(label: "password-reset") { _ in LineLogHandler(settings, writer: writer) } }
}
