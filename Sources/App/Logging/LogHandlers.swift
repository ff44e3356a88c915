import Credentials
import Foundation
import Logging
import Text

/// Formats log events as lines: a JSON object per line for programs, or text for people.
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
    set {
      // Hummingbird numbers the requests. Ours have random ids, which do not reveal how many requests there were.
      if key != "hb.request.id" { metadata[key] = newValue }
    }
  }

  func log(event: LogEvent) {
    var fields: [(String, String)] = []
    // When a name occurs twice, the first value wins, so add the values of the event before those of the logger.
    func add(_ name: String, _ value: @autoclosure () -> String) {
      if !fields.contains(where: { $0.0 == name }) { fields.append((name, value())) }
    }
    if let error = event.error { add("error", "\(error)") }
    for (name, value) in event.metadata ?? [:] { add(name, Self.text(value)) }
    for (name, value) in metadata { add(name, Self.text(value)) }
    // One call per line, so that the lines of several threads do not mix.
    writer.write(Self.line(event.level, "\(event.message)", fields, format, isColoured: isColoured))
  }

  private static func text(_ value: Logger.MetadataValue) -> String { if case .string(let text) = value { text } else { "\(value)" } }

  fileprivate static func line(
    _ level: Logger.Level, _ message: String, _ fields: [(String, String)], _ format: LogSettings.Format, isColoured: Bool
  ) -> [UInt8] {
    switch format {
    case .json: json(level, message, fields)
    case .text: text(level, message, fields, isColoured: isColoured)
    }
  }

  private static func json(_ level: Logger.Level, _ message: String, _ fields: [(String, String)]) -> [UInt8] {
    var members = fields.filter { name, _ in name != "time" && name != "level" && name != "message" }
    members += [("time", time()), ("level", level.rawValue), ("message", message)]
    members.sort { $0.0 < $1.0 }
    return JSONLine.make(members)
  }

  private static func text(_ level: Logger.Level, _ message: String, _ fields: [(String, String)], isColoured: Bool) -> [UInt8] {
    let pairs = fields.sorted { $0.0 < $1.0 }.map { " \($0)=\($1)" }.joined()
    // A value may come from a request. It must not look like another log line or move the cursor.
    let line = printable("\(message)\(pairs)")
    return Array("\(time()) \(word(for: level, isColoured: isColoured)) \(line)\n".utf8)
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

  private static func time() -> String { Date().rfc3339(withMilliseconds: true) }
}

extension LogWriter {
  convenience init(_ settings: LogSettings) {
    self.init { count in
      LineLogHandler.line(
        .warning, "\(count) log lines were lost because the reader of the log stalled", [], settings.format, isColoured: settings.isColoured)
    }
  }
}

extension Logger {
  init(_ settings: LogSettings, writer: LogWriter) { self.init(label: "password-reset") { _ in LineLogHandler(settings, writer: writer) } }
}
