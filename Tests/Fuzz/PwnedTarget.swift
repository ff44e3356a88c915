import Foundation
@testable import PwnedPasswords

extension FuzzTarget {
  /// Lists of leaked passwords: a search finds what reading the whole list finds, and so does the filter made of it.
  static let pwned = FuzzTarget("pwned") { bytes in
    let path = try ScratchFolder.write(bytes, "list")
    try checkResponse(bytes)
    let file = try? HashListFile(ReadableFile(path: path))
    var hashes: [SHA1Hash] = []
    let summary: FilterBuilder.Summary
    do {
      try HashListReader(path: path, allowsMissingRanges: false, onProgress: { _ in }).forEachLine { line, _ in hashes.append(line.hash) }
      summary = try FilterBuilder(list: path, minimumCount: 0).build(at: "\(ScratchFolder.path)/filter")
    } catch let error as PwnedFileError {
      try expect(!error.description.isEmpty, "a list is refused with a reason")
      // A damaged list gives an answer or an error.
      for hash in hashes + [SHA1Hash(of: "password")] { _ = try? file?.contains(hash) }
      return
    }
    try expect(summary.listed == hashes.count, "a filter is made of all hashes")
    let filter = try FilterFile(ReadableFile(path: "\(ScratchFolder.path)/filter"))
    try expect(file != nil, "a list from which a filter can be made can be searched")
    for hash in hashes {
      try expect(try filter.contains(hash), "a filter contains \(hash.hexadecimal)")
      try expect(try file?.contains(hash) == true, "a list contains \(hash.hexadecimal)")
    }
  }

  private static func checkResponse(_ bytes: [UInt8]) throws {
    do {
      _ = try RangeAPI.contains(SHA1Hash(of: "password"), bytes, prefix: Array("5BAA6".utf8))
    } catch let error as RangeAPI.Failure {
      try expect(!error.description.isEmpty, "a response is refused with a reason")
    }
  }
}
