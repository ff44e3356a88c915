@testable import App
import Credentials
import Foundation
@testable import PasswordReset

extension FuzzTarget {
  /// Files of users: what an import reads, an export writes so that another import reads the same.
  static let users = FuzzTarget("users") { bytes in
    let (format, content) = bytes.choose([UserFileFormat.csv, .jsonl, .dumpdata, .mysql])
    let rows = try read(content, format)
    guard !rows.isEmpty else { return }
    let documents = rows.map { UserDocument($0, in: .django) }
    for format in [UserFileFormat.csv, .jsonl, .dumpdata] {
      let again = try read(written(documents, format), format).map { UserDocument($0, in: .django) }
      try expect(again == documents, "an export in \(format) has the same users: \(again) and not \(documents)")
    }
  }

  private static let hashers = PasswordHashers()

  /// Returns the users that an import would add.
  private static func read(_ bytes: [UInt8], _ format: UserFileFormat) throws -> [UserRow] {
    let file = try open(ScratchFolder.write(bytes, "users"))
    defer { try? file.close() }
    var rows: [UserRow] = []
    do {
      var reader = try UserFileReader(file, format: format)
      while let entry = try reader.next() {
        try expect(reader.position >= 0, "a reader knows its position")
        guard case .success(let document) = entry.user else { continue }
        do throws(UserDocument.Fault) {
          rows.append(try document.record(now: Date(timeIntervalSince1970: 1_790_000_000), for: .django, hashers))
        } catch {
          try expect(!error.reason.isEmpty, "a user is refused with a reason")
        }
      }
    } catch let error as UserFileReader.Broken {
      try expect(!error.reason.isEmpty, "a file is refused with a reason")
    }
    return rows
  }

  private static func written(_ documents: [UserDocument], _ format: UserFileFormat) throws -> [UInt8] {
    let file = try open(ScratchFolder.write([], "users"))
    defer { try? file.close() }
    var writer = try UserFileWriter(file, format: format)
    try writer.write(documents)
    try writer.finish()
    try file.seek(toOffset: 0)
    return Array(try file.readToEnd() ?? Data())
  }

  private static func open(_ path: String) throws -> FileHandle {
    guard let file = FileHandle(forUpdatingAtPath: path) else { throw Broken(description: "\(path) can be opened") }
    return file
  }
}
