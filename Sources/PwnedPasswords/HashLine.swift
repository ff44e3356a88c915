/// A line of the published list, such as `000000005AD76BD555C1D6D771DE417A4B87E4B4:10`.
struct HashLine {
  /// Bytes, with the end of the line; no line of the published list is as long.
  static let maximumLength = 64

  let hash: SHA1Hash
  /// How often the password was found in leaks. 0 marks an entry that only pads a response of the API.
  let count: Int

  /// Reads a line, or returns `nil` if it is not well-formed.
  /// - Parameters:
  ///   - range: The place of the line in `text`, without its line feed. A carriage return may be at its end.
  ///   - prefix: The first digits of the hash if they are in the name of the file and not in the line.
  init?(_ text: [UInt8], _ range: Range<Int>, prefix: [UInt8] = []) {
    var end = range.upperBound
    if end > range.lowerBound, text[end - 1] == UInt8(ascii: "\r") { end -= 1 }
    let colon = range.lowerBound + SHA1Hash.digitCount - prefix.count
    guard colon + 1 < end, end - colon <= 19, text[colon] == UInt8(ascii: ":"),
      let hash = SHA1Hash(prefix: prefix, text, range.lowerBound..<colon)
    else { return nil }
    var count = 0
    for index in colon + 1..<end {
      guard (0x30...0x39).contains(text[index]) else { return nil }
      count = 10 * count + Int(text[index] - 0x30)
    }
    (self.hash, self.count) = (hash, count)
  }
}

/// Calls `body` with the place of each line in `text`, without its line feed. The last line may lack one.
func forEachLine(in text: [UInt8], _ body: (Range<Int>) throws -> Void) rethrows {
  var start = 0
  while start < text.count {
    let end = text[start...].firstIndex(of: UInt8(ascii: "\n")) ?? text.count
    try body(start..<end)
    start = end + 1
  }
}
