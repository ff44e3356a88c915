/// A filter file, which `password-reset pwned build` made.
struct FilterFile: HashFile {
  /// Entries that are read at once: 4 KiB, the size of a page.
  private static let blockSize = 1024

  private let file: ReadableFile
  private let format: FilterFormat

  init(_ file: ReadableFile) throws(PwnedFileError) {
    self.file = file
    format = try FilterFormat(file.bytes(0..<min(FilterFormat.size, file.version.size)), fileSize: file.version.size)
  }

  var version: ReadableFile.Version { file.version }

  func contains(_ hash: SHA1Hash) throws -> Bool {
    let bucket = FilterFormat.bucket(hash)
    let entry = FilterFormat.entry(hash)
    let entries = format.index[bucket]..<format.index[bucket + 1]
    return try search(for: UInt64(entry), among: 0...UInt64(UInt32.max), in: entries, blockSize: Self.blockSize) { block in
      let start = FilterFormat.size + FilterFormat.entrySize * block.lowerBound
      let bytes = try file.bytes(start..<start + FilterFormat.entrySize * block.count)
      guard Self.isSorted(bytes) else { throw PwnedFileError("it is damaged") }
      return Self.compare(entry, bytes, block)
    }
  }

  /// Whether the entries ascend, as in each undamaged block. The file is too large for a checksum over all of it.
  private static func isSorted(_ bytes: [UInt8]) -> Bool {
    (1..<max(1, bytes.count / FilterFormat.entrySize)).allSatisfy { entry(bytes, $0 - 1) < entry(bytes, $0) }
  }

  private static func compare(_ entry: UInt32, _ bytes: [UInt8], _ block: Range<Int>) -> BlockVerdict {
    let first = self.entry(bytes, 0)
    if entry < first { return .before(first: UInt64(first), position: block.lowerBound) }
    let last = self.entry(bytes, block.count - 1)
    if entry > last { return .after(last: UInt64(last), position: block.upperBound) }
    var (low, high) = (0, block.count)
    while low < high {
      let middle = (low + high) / 2
      if self.entry(bytes, middle) < entry { low = middle + 1 } else { high = middle }
    }
    return self.entry(bytes, low) == entry ? .found : .absent
  }

  private static func entry(_ bytes: [UInt8], _ index: Int) -> UInt32 {
    let offset = FilterFormat.entrySize * index
    return UInt32(bytes[offset]) << 24 | UInt32(bytes[offset + 1]) << 16 | UInt32(bytes[offset + 2]) << 8 | UInt32(bytes[offset + 3])
  }
}
