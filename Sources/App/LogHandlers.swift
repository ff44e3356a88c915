import Foundation
import Logging

/// Writes log lines to standard error: one JSON object a line, or text for a person.
struct LineLogHandler: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level
  private let format: LogSettings.Format

  init(_ settings: LogSettings) {
    logLevel = settings.level
    format = settings.format
  }

  subscript(metadataKey key: String) -> Logger.MetadataValue? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var fields = metadata.merging(event.metadata ?? [:]) { _, new in new }.mapValues { "\($0)" }
    if let error = event.error { fields["error"] = "\(error)" }
    let line =
      switch format {
      case .json: json(event.level, "\(event.message)", fields)
      case .text: text(event.level, "\(event.message)", fields)
      }
    // One call, so that lines of several threads do not mix. Nothing can be done about a log that cannot be written.
    try? FileHandle.standardError.write(contentsOf: line)
  }

  private func json(_ level: Logger.Level, _ message: String, _ fields: [String: String]) -> Data {
    let line = fields.merging(["time": Self.time(), "level": level.rawValue, "message": message]) { _, ours in ours }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Texts alone are encoded, which cannot fail.
    return ((try? encoder.encode(line)) ?? Data("{}".utf8)) + Data("\n".utf8)
  }

  private func text(_ level: Logger.Level, _ message: String, _ fields: [String: String]) -> Data {
    let pairs = fields.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
    let line = "\(Self.time()) \(level.rawValue.uppercased()) \(message)\(pairs)"
    // What a request put into a value must not look like a line of its own.
    return Data((line.map { $0.isNewline ? " " : String($0) }.joined() + "\n").utf8)
  }

  private static func time() -> String { Date().ISO8601Format(.init(includingFractionalSeconds: true, timeZone: .gmt)) }
}

extension Logger {
  init(_ settings: LogSettings) { self.init(label: "password-reset") { _ in LineLogHandler(settings) } }
}
