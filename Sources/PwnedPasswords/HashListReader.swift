import Foundation
import SystemPackage

/// Reads the published list as its downloader writes it: one file, or a folder with a file for each range.
///
/// It reads in chunks, so that a list of any size takes little memory.
struct HashListReader {
  private static let chunk = 1 << 20
  /// How many ranges there are: one for each combination of five hexadecimal digits.
  private static let rangeCount = 1 << 20

  /// The path of the file or the folder.
  let path: String
  /// Whether range files may be missing in a folder.
  let allowsMissingRanges: Bool
  /// Called now and then with the share of the list that was read.
  let onProgress: (Double) -> Void

  /// Calls `body` with each line, and a function that describes its place.
  func forEachLine(_ body: (HashLine, _ place: () -> String) throws -> Void) throws {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { throw PwnedFileError("\(path) does not exist") }
    if isFolder.boolValue { try readFolder(body) } else { try readFile(path, prefix: [], onProgress: onProgress, body) }
  }

  private func readFolder(_ body: (HashLine, () -> String) throws -> Void) throws {
    var found = false
    for number in 0..<Self.rangeCount {
      let digits = String(number, radix: 16, uppercase: true)
      let prefix = String(repeating: "0", count: 5 - digits.count) + digits
      let file = "\(path)/\(prefix).txt"
      if access(file, F_OK) == 0 {
        found = true
        try readFile(file, prefix: Array(prefix.utf8), onProgress: { _ in }, body)
      } else if !allowsMissingRanges {
        throw PwnedFileError("\(file) is missing. Finish the download; --allow-missing-ranges leaves missing ranges out")
      }
      if number % 1024 == 0 { onProgress(Double(number) / Double(Self.rangeCount)) }
    }
    guard found else { throw PwnedFileError("\(path) has no range files, which have names such as 00000.txt") }
  }

  private func readFile(_ path: String, prefix: [UInt8], onProgress: (Double) -> Void, _ body: (HashLine, () -> String) throws -> Void) throws {
    let file: FileDescriptor
    do { file = try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec) } catch {
      throw PwnedFileError("\(path): \(PwnedFileError(error))")
    }
    // Nothing was written, so nothing can be lost.
    defer { try? file.close() }
    let size = max(1, ReadableFile.Version(path: path)?.size ?? 1)
    var (buffer, number, position): ([UInt8], Int, Int) = ([], 0, 0)
    var atEnd = false
    while !atEnd {
      let read = try readChunk(of: file, path)
      atEnd = read.isEmpty
      position += read.count
      buffer += read
      // Keep the part of a line at the end until its rest is read.
      let end = atEnd ? buffer.count : (buffer.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0)
      let text = Array(buffer[..<end])
      try PwnedPasswords.forEachLine(in: text) { range in
        number += 1
        guard let line = HashLine(text, range, prefix: prefix) else { throw malformed(path, number, prefix) }
        try body(line) { "\(path), line \(number)" }
      }
      buffer.removeFirst(end)
      if buffer.count > HashLine.maximumLength { throw malformed(path, number + 1, prefix) }
      onProgress(Double(position) / Double(size))
    }
    // Every range has hashes, so an empty file is a download that failed.
    if number == 0, !prefix.isEmpty, !allowsMissingRanges { throw PwnedFileError("\(path) is empty. Download it again") }
  }

  private func readChunk(of file: FileDescriptor, _ path: String) throws -> [UInt8] {
    do {
      return try [UInt8](unsafeUninitializedCapacity: Self.chunk) { buffer, count in
        count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
      }
    } catch { throw PwnedFileError("\(path): \(PwnedFileError(error))") }
  }

  private func malformed(_ path: String, _ number: Int, _ prefix: [UInt8]) -> PwnedFileError {
    let hash =
      prefix.isEmpty
      ? "a SHA-1 hash of 40 hexadecimal digits"
      : "the 35 hexadecimal digits of a SHA-1 hash after the \(String(decoding: prefix, as: UTF8.self)) in the name"
    return PwnedFileError("\(path), line \(number): expected \(hash), a colon and a count")
  }
}
