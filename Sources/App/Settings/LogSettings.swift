import Foundation
import Logging

/// What the service logs, and in which format.
struct LogSettings: SettingsGroup, Sendable {
  enum Format: String, CaseIterable {
    case json, text
  }

  var level: Logger.Level
  var format: Format
  /// Whether levels are colored: on a terminal, unless `NO_COLOR` is set (https://no-color.org).
  var isColoured: Bool

  init(from reader: inout SettingsReader) {
    let isTerminal = isatty(STDERR_FILENO) == 1
    level = reader.choice(.logLevel)
    format = reader.choice(.logFormat, default: isTerminal ? Format.text : .json)
    isColoured = isTerminal && ProcessInfo.processInfo.environment["NO_COLOR", default: ""].isEmpty
  }
}
