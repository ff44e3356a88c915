import Credentials
import Foundation
import Logging
import Text

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
    set {
      // Hummingbird counts the requests; ours have a number that tells nothing.
      if key != "hb.request.id" { metadata[key] = newValue }
    }
  }

  func log(event: LogEvent) {
    var fields: [(String, String)] = []
    // Of one name the first is taken: what is nearer to the event.
    func add(_ name: String, _ value: @autoclosure () -> String) {
      if !fields.contains(where: { $0.0 == name }) { fields.append((name, value())) }
    }
    if let error = event.error { add("error", "\(error)") }
    for (name, value) in event.metadata ?? [:] { add(name, Self.text(value)) }
    for (name, value) in metadata { add(name, Self.text(value)) }
    // One call, so that lines of several threads do not mix.
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
    // What a request put into a value must not look like a line of its own, nor move the cursor.
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

/// An object of texts on a line. A line is made for every request, and Foundation's encoder was an eighth of a request's time.
enum JSONLine {
  /// - Parameter members: not empty.
  static func make(_ members: [(String, String)]) -> [UInt8] {
    var line: [UInt8] = []
    line.reserveCapacity(256)
    for (name, value) in members {
      line.append(UInt8(ascii: line.isEmpty ? "{" : ","))
      append(name, to: &line)
      line.append(UInt8(ascii: ":"))
      append(value, to: &line)
    }
    line += [UInt8(ascii: "}"), UInt8(ascii: "\n")]
    return line
  }

  private static func append(_ text: String, to line: inout [UInt8]) {
    line.append(UInt8(ascii: "\""))
    if text.utf8.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) {
      line += text.utf8
    } else {
      for byte in text.utf8 { escape(byte, to: &line) }
    }
    line.append(UInt8(ascii: "\""))
  }

  private static func escape(_ byte: UInt8, to line: inout [UInt8]) {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): line += [UInt8(ascii: "\\"), byte]
    case 0..<0x20: line += Array((byte < 16 ? "\\u000" : "\\u00").utf8) + Array(String(byte, radix: 16).utf8)
    default: line.append(byte)
    }
  }
}
