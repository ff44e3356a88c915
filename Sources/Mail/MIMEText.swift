import CGMime
import Foundation

/// The content of a text part, in the shortest transfer encoding (RFC 2045 section 6) that the form of the message allows.
///
/// Its lines end in LF.
struct MIMEText {
  /// The name of the transfer encoding, or `nil` for the default, 7bit.
  let encoding: String?
  let bytes: [UInt8]

  /// - Parameter mayBe8Bit: Whether the text may contain bytes above 127 and lines of any length.
  init(_ text: String, mayBe8Bit: Bool) {
    let lines = Self.lines(of: text, end: "\n")
    let encoding = Self.encoding(of: lines)
    switch encoding {
    case _ where mayBe8Bit: (self.encoding, bytes) = (lines.contains { $0 >= 0x80 } ? "8bit" : nil, lines)
    case GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE: (self.encoding, bytes) = ("quoted-printable", Self.encoded(lines, encoding))
    // A line of text ends with CR LF before it is encoded (RFC 2045 section 6.8). In the other encodings, line ends are
    // written with the message.
    case GMIME_CONTENT_ENCODING_BASE64: (self.encoding, bytes) = ("base64", Self.encoded(Self.lines(of: text, end: "\r\n"), encoding))
    default: (self.encoding, bytes) = (nil, lines)
    }
  }

  /// Returns the encoding that makes the text shortest, or base64 if it contains NUL.
  private static func encoding(of lines: [UInt8]) -> GMimeContentEncoding {
    let above127 = lines.reduce(0) { $0 + ($1 >= 0x80 ? 1 : 0) }
    let zeros = lines.reduce(0) { $0 + ($1 == 0 ? 1 : 0) }
    let longest = above127 > 0 ? 0 : longestLine(in: lines)
    // Quoted-printable writes three characters for each such byte, and base64 four for every three bytes.
    if zeros > 0 || above127 * 6 > lines.count { return GMIME_CONTENT_ENCODING_BASE64 }
    // No line may be longer (RFC 5322 section 2.1.1).
    return above127 > 0 || longest > 998 ? GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE : GMIME_CONTENT_ENCODING_7BIT
  }

  private static func longestLine(in lines: [UInt8]) -> Int {
    lines.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true).map(\.count).max() ?? 0
  }

  private static func encoded(_ bytes: [UInt8], _ encoding: GMimeContentEncoding) -> [UInt8] {
    var state = GMimeEncoding()
    g_mime_encoding_init_encode(&state, encoding)
    return [UInt8](unsafeUninitializedCapacity: g_mime_encoding_outlen(&state, bytes.count)) { output, count in
      output.withMemoryRebound(to: CChar.self) { output in
        bytes.withUnsafeBytes { input in
          count = g_mime_encoding_flush(&state, input.baseAddress?.assumingMemoryBound(to: CChar.self), input.count, output.baseAddress)
        }
      }
    }
  }

  /// Returns the text in UTF-8 with one kind of line end. A CR alone is a line end as well, because no message may contain one.
  private static func lines(of text: String, end: String) -> [UInt8] {
    let given = Array(text.utf8)
    // The C function compares many bytes at once.
    if end == "\n", given.withUnsafeBytes({ bytes in bytes.baseAddress.flatMap { memchr($0, 0x0D, bytes.count) } }) == nil {
      return given
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(given.count * 21 / 20)
    var last: UInt8 = 0
    for byte in given {
      switch byte {
      case UInt8(ascii: "\n") where last == UInt8(ascii: "\r"): break
      case UInt8(ascii: "\n"), UInt8(ascii: "\r"): bytes += end.utf8
      default: bytes.append(byte)
      }
      last = byte
    }
    return bytes
  }
}
