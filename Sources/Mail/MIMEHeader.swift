import Foundation

/// Encodes and folds the text of a header (RFC 2047, RFC 5322 section 2.2.3).
enum MIMEHeader {
  private static let lineLimit = 76

  /// Returns the header with a text for people, without a line end after it.
  static func line(_ name: String, _ text: String) -> String {
    guard isPlain(text) else { return "\(name): " + encodedWords(text, after: "\(name): ").joined(separator: "\n ") }
    var line = "\(name):"
    var length = line.utf8.count
    for word in text.split(separator: " ") {
      if length + 1 + word.utf8.count > lineLimit {
        line += "\n"
        length = 0
      }
      line += " \(word)"
      length += 1 + word.utf8.count
    }
    return line
  }

  /// Returns whether a text of a header needs no encoding: ASCII with single spaces, in words that are short enough to be folded.
  static func isPlain(_ text: String) -> Bool {
    guard !text.isEmpty else { return true }
    return text.utf8.allSatisfy { (0x20...0x7E).contains($0) } && !text.contains("=?")
      && text.split(separator: " ", omittingEmptySubsequences: false).allSatisfy { (1...50).contains($0.utf8.count) }
  }

  /// Returns encoded words that fit into lines of 76 characters (RFC 2047 section 2), each with complete characters.
  static func encodedWords(_ text: String, after name: String) -> [String] {
    // An encoded word has 12 characters around its base64, which has four for every three bytes.
    var limit = (64 - name.utf8.count) / 4 * 3
    var chunks = [""]
    for scalar in text.unicodeScalars {
      if chunks[chunks.count - 1].utf8.count + UTF8.width(scalar) > limit {
        chunks.append("")
        limit = 45
      }
      chunks[chunks.count - 1].unicodeScalars.append(scalar)
    }
    return chunks.map { "=?utf-8?b?\(Data($0.utf8).base64EncodedString())?=" }
  }
}
