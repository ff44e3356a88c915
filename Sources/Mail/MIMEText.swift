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
    let above127 = lines.withUnsafeBytes { bytes in bytes.reduce(0) { $0 &+ Int($1 &>> 7) } }
    // Quoted-printable writes three characters for each such byte, and base64 four for every three bytes.
    if above127 * 6 > lines.count || lines.contains(byte: 0) { return GMIME_CONTENT_ENCODING_BASE64 }
    if above127 > 0 { return GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE }
    var longest = 0
    lines.forEachLine { line, _ in longest = max(longest, line.count) }
    // No line may be longer (RFC 5322 section 2.1.1).
    return longest > 998 ? GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE : GMIME_CONTENT_ENCODING_7BIT
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
    if end == "\n", !given.contains(byte: UInt8(ascii: "\r")) { return given }
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

extension [UInt8] {
  /// Calls `body` with each line, without the LF at its end, and whether it has one. Only the last line may have none. The line is valid
  /// only during the call.
  func forEachLine(_ body: (_ line: UnsafeRawBufferPointer.SubSequence, _ isEnded: Bool) -> Void) {
    withUnsafeBytes { bytes in
      var rest = bytes[...]
      while let end = rest.firstIndex(ofByte: UInt8(ascii: "\n")) {
        body(rest[..<end], true)
        rest = rest[(end + 1)...]
      }
      if !rest.isEmpty { body(rest, false) }
    }
  }

  fileprivate func contains(byte: UInt8) -> Bool { withUnsafeBytes { $0[...].firstIndex(ofByte: byte) != nil } }
}

extension UnsafeRawBufferPointer.SubSequence {
  /// Looks for a byte with `memchr`, which compares many at once.
  fileprivate func firstIndex(ofByte byte: UInt8) -> Int? {
    let bytes = UnsafeRawBufferPointer(rebasing: self)
    guard let start = bytes.baseAddress, let found = memchr(start, CInt(byte), bytes.count) else { return nil }
    return startIndex + (UnsafeRawPointer(found) - start)
  }
}
