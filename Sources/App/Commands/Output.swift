import Foundation

/// Formats what commands print: JSON for programs, text for people.
enum Output {
  /// Writes a value on one line, with the members in alphabetical order and their names in snake case.
  static let encoder = makeEncoder([])
  private static let prettyEncoder = makeEncoder(.prettyPrinted)

  private static func makeEncoder(_ formatting: JSONEncoder.OutputFormatting) -> JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = formatting.union([.sortedKeys, .withoutEscapingSlashes])
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.dateEncodingStrategy = .iso8601
    return encoder
  }

  /// A JSON object on one line.
  static func jsonLine(_ value: some Encodable) throws -> String { String(decoding: try encoder.encode(value), as: UTF8.self) }

  /// A JSON array on several lines.
  static func jsonArray(_ values: [some Encodable]) throws -> String { String(decoding: try prettyEncoder.encode(values), as: UTF8.self) }

  /// Names with their values, one per line. Leaves out names without a value.
  static func list(_ fields: [(name: String, value: String?)]) -> String {
    fields.compactMap { name, value in value.map { padded(name, 12) + printable($0) } }.joined(separator: "\n")
  }
}

/// Formats the rows of a table. The last column is as wide as its text.
struct Table {
  private let widths: [Int]

  /// - Parameter widths: the widths of all columns but the last.
  init(_ widths: Int...) { self.widths = widths }

  func row(_ cells: String...) -> String {
    cells.enumerated().map { padded(printable($1), $0 < widths.count ? widths[$0] : 0) }.joined(separator: " ")
  }
}

/// A number with its noun, such as "1 error" or "2 errors".
func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

/// Fills a text with spaces up to a width.
func padded(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }

/// Replaces the characters that could move the cursor of a terminal, change its colors or reverse the order of a line.
func printable(_ text: String) -> String {
  let harmful: Set<Unicode.GeneralCategory> = [.control, .format, .lineSeparator, .paragraphSeparator]
  return String(String.UnicodeScalarView(text.unicodeScalars.map { harmful.contains($0.properties.generalCategory) ? "\u{FFFD}" : $0 }))
}

/// Writes a line to standard error. A command does not fail when standard error is closed.
func printError(_ message: String) { writeError(message + "\n") }

private func writeError(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data(text.utf8)) }

/// A line on standard error that shows how far a command is, if standard error is a terminal.
enum ProgressLine {
  static let isShown = isatty(STDERR_FILENO) == 1

  /// Replaces the line.
  static func show(_ text: String) { if isShown { writeError("\r\(text)") } }

  /// Removes the line, so that another one can be printed.
  static func clear() { if isShown { writeError("\r\u{1B}[2K") } }
}
