import Foundation

/// Reads a file line by line, so that a file of any size takes little memory.
struct LineReader {
  /// Bytes; more than any user needs. A longer line or record is refused and not read into memory.
  static let limit = 1 << 20
  private static let chunk = 1 << 16

  private let file: FileHandle
  private var buffer: [UInt8] = []
  private var index = 0
  /// The number of bytes that have been read as lines.
  private(set) var position = 0
  /// The number of the last line.
  private(set) var number = 0

  /// Reads the first chunk, which ``start`` then has.
  init(_ file: FileHandle) throws {
    self.file = file
    _ = try fill()
  }

  /// What was read last. Before the first line, this is the start of the file.
  var start: [UInt8] { buffer }

  /// Returns all bytes that are left, or `nil` if there are more than `limit`.
  mutating func rest(upTo limit: Int) throws -> Data? {
    var data = Data()
    while data.count <= limit, try fill() {
      data += buffer[index...]
      index = buffer.count
    }
    return data.count <= limit ? data : nil
  }

  /// Returns the next line with its line end, or `nil` at the end of the file. Drops a byte order mark.
  mutating func next() throws -> [UInt8]? {
    var line: [UInt8] = []
    while line.last != UInt8(ascii: "\n"), try fill() {
      let rest = buffer[index...]
      let end = rest.firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? rest.endIndex
      line += rest[..<end]
      index = end
      guard line.count <= Self.limit else { throw UserFileReader.Broken(line: number + 1, UserFileReader.tooLong) }
    }
    guard !line.isEmpty else { return nil }
    position += line.count
    number += 1
    if number == 1, line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
    return line
  }

  /// Reads the next chunk once the buffer is used up. Returns false at the end of the file.
  private mutating func fill() throws -> Bool {
    guard index == buffer.count else { return true }
    do {
      buffer = [UInt8](try file.read(upToCount: Self.chunk) ?? Data())
    } catch {
      throw UserFileReader.Broken(line: number + 1, "the file cannot be read")
    }
    index = 0
    return !buffer.isEmpty
  }
}
