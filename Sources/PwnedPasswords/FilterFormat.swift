import Crypto

/// The header of a filter file: what the file contains, and where.
///
/// A filter keeps the first 48 bits of each hash. The first 16 bits select a bucket; the index in the header says where each bucket begins. After the
/// header, each entry is the next 32 bits of a hash, in ascending order within its bucket. So a filter takes 4 bytes for each password, and
/// wrongly contains a random password with a probability of the number of entries divided by 2^48. All numbers are big-endian:
///
/// | offset | bytes | content |
/// |---|---|---|
/// | 0 | 8 | `pwnedpw` and a line feed |
/// | 8 | 8 | the version of the format, 1 |
/// | 16 | 8 | the number of entries |
/// | 24 | 8 | the lowest count that a password in the filter had |
/// | 32 | 8 × 65,537 | the index: the first entry of each bucket, and at its end the number of entries |
/// | 524,328 | 32 | the SHA-256 of all bytes before it |
struct FilterFormat: Equatable {
  static let magic = Array("pwnedpw\n".utf8)
  static let bucketCount = 1 << 16
  static let entrySize = 4
  private static let version: UInt64 = 1
  private static let checksumSize = 32
  private static let indexStart = 32
  /// Bytes of the header, after which the first entry begins.
  static let size = indexStart + 8 * (bucketCount + 1) + checksumSize

  /// The first entry of each bucket, and at the end the number of entries.
  let index: [Int]
  let minimumCount: Int

  init(index: [Int], minimumCount: Int) { (self.index, self.minimumCount) = (index, minimumCount) }

  /// Reads a header. Throws if it is damaged, or the file does not have the size that it says.
  init(_ bytes: [UInt8], fileSize: Int) throws(PwnedFileError) {
    guard bytes.starts(with: Self.magic) else { throw PwnedFileError("it is not a filter") }
    guard bytes.count == Self.size else { throw PwnedFileError("it is truncated") }
    guard Self.number(bytes, 8) == Self.version else { throw PwnedFileError("another release of password-reset made it") }
    guard Self.checksum(bytes.dropLast(Self.checksumSize)) == Array(bytes.suffix(Self.checksumSize)) else { throw PwnedFileError("it is damaged") }
    // The checksum is right, so that the numbers are those that the builder wrote.
    index = (0...Self.bucketCount).map { Int(truncatingIfNeeded: Self.number(bytes, Self.indexStart + 8 * $0)) }
    minimumCount = Int(truncatingIfNeeded: Self.number(bytes, 24))
    guard fileSize == Self.size + Self.entrySize * count else { throw PwnedFileError("it is truncated") }
  }

  var count: Int { index.last ?? 0 }

  /// The probability that the filter contains a password that is not in the list.
  static func falsePositiveRate(count: Int) -> Double { Double(count) / Double(1 << 48) }

  /// The header as bytes.
  var bytes: [UInt8] {
    var bytes = Self.magic
    for number in [Int(Self.version), count, minimumCount] + index {
      for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
    }
    return bytes + Self.checksum(bytes[...])
  }

  /// The bucket of a hash.
  static func bucket(_ hash: SHA1Hash) -> Int { Int(hash.high >> 48) }
  /// The entry of a hash in its bucket.
  static func entry(_ hash: SHA1Hash) -> UInt32 { UInt32(truncatingIfNeeded: hash.high >> 16) }

  private static func number(_ bytes: [UInt8], _ offset: Int) -> UInt64 { bytes[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) } }

  private static func checksum(_ bytes: ArraySlice<UInt8>) -> [UInt8] { Array(SHA256.hash(data: Array(bytes))) }
}
