/// The published list itself: a text file with a line for each hash, sorted by hash.
struct HashListFile: HashFile {
  /// Bytes that are read at once, about 90 lines.
  private static let blockSize = 4096

  private let file: ReadableFile
  private let values: ClosedRange<UInt64>

  /// Reads the first and the last line.
  init(_ file: ReadableFile) throws(PwnedFileError) {
    self.file = file
    let size = file.version.size
    guard size > 0 else { throw PwnedFileError("it is empty") }
    guard let first = try Lines(file, beginningIn: 0..<1).first else {
      throw PwnedFileError("it is neither a filter nor a list with lines such as 000000005AD76BD555C1D6D771DE417A4B87E4B4:10")
    }
    guard let last = try Lines(file, beginningIn: max(0, size - HashLine.maximumLength)..<size).last else {
      throw PwnedFileError("it is truncated in its last line")
    }
    guard first <= last else { throw PwnedFileError("it is not sorted by hash") }
    if let reason = incompleteness(last: last, count: size / HashLine.maximumLength) { throw PwnedFileError(reason) }
    values = first.high...last.high
  }

  var version: ReadableFile.Version { file.version }

  func contains(_ hash: SHA1Hash) throws -> Bool {
    guard values.contains(hash.high) else { return false }
    return try search(for: hash.high, among: values, in: 0..<file.version.size, blockSize: Self.blockSize) { block in
      let lines = try Lines(file, beginningIn: block)
      // The parts that remain begin and end with whole lines, and a block is longer than a line, so that it has at least one.
      guard let first = lines.first, let last = lines.last else { throw PwnedFileError("it has a malformed line") }
      if hash < first { return .before(first: first.high, position: lines.range.lowerBound) }
      if hash > last { return .after(last: last.high, position: lines.range.upperBound) }
      return lines.contains(hash) ? .found : .absent
    }
  }
}

/// The lines that begin in a part of a list.
private struct Lines {
  private let text: [UInt8]
  /// The places of the lines in the text.
  private let places: [Range<Int>]
  /// The lines' part of the file, from the beginning of the first to the beginning of the line after the last.
  let range: Range<Int>

  init(_ file: ReadableFile, beginningIn block: Range<Int>) throws(PwnedFileError) {
    // A line begins after a line feed, which may be the byte before the block.
    let start = max(0, block.lowerBound - 1)
    text = try file.bytes(start..<min(file.version.size, block.upperBound + HashLine.maximumLength))
    var places: [Range<Int>] = []
    forEachLine(in: text) { place in
      if block.contains(start + place.lowerBound), place.lowerBound > 0 || start == 0 { places.append(place) }
    }
    self.places = places
    let first = start + (places.first?.lowerBound ?? 0)
    range = first..<max(first, start + (places.last?.upperBound ?? 0) + 1)
  }

  /// The hash in the first line, or `nil` if that is malformed.
  var first: SHA1Hash? { places.first.flatMap { HashLine(text, $0)?.hash } }

  /// The hash in the last line, or `nil` if that is malformed.
  var last: SHA1Hash? { places.last.flatMap { HashLine(text, $0)?.hash } }

  func contains(_ hash: SHA1Hash) -> Bool { places.contains { HashLine(text, $0)?.hash == hash } }
}

/// Returns why a list cannot be complete, or `nil` if it can.
///
/// Hashes are evenly distributed, so that the last one of `count` hashes is close to the highest possible one. The probability that it is not, although
/// the list is complete, is e^-64.
func incompleteness(last: SHA1Hash, count: Int) -> String? {
  guard count > 64, Double(UInt64.max - last.high) > 64 * (Double(UInt64.max) / Double(count)) else { return nil }
  return "its last hash is \(last.hexadecimal.prefix(8))…, so a part at its end is missing"
}
