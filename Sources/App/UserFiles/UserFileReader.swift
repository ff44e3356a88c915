import Foundation

/// The formats for the import and export of users.
enum UserFileFormat: String, CaseIterable {
  /// A header line with the names of the columns, then one line per user (RFC 4180).
  case csv
  /// One JSON object per line: a user, or an object as `manage.py dumpdata --format jsonl` writes it.
  case jsonl
  /// The JSON array that `manage.py dumpdata auth.user` writes and `loaddata` reads.
  case dumpdata

  /// Guesses the format from the extension of the file name.
  init?(path: String) {
    switch (path as NSString).pathExtension.lowercased() {
    case "csv": self = .csv
    case "jsonl", "ndjson": self = .jsonl
    case "json": self = .dumpdata
    default: return nil
    }
  }
}

/// Reads users from a file. CSV and JSON Lines are read line by line, and a JSON array at once, up to a limit.
struct UserFileReader {
  /// A user in a file, or the reason why it is refused.
  struct Entry {
    var place: String
    var fields: Result<UserDocument, UserDocument.Fault>
  }

  /// The rest of the file cannot be read.
  struct Broken: Error {
    /// What follows the name of the file in a message.
    var place: String
    var reason: String

    init(line: Int?, _ reason: String) { (place, self.reason) = (line.map { ":\($0)" } ?? "", reason) }
  }

  static let tooLong = "the record that starts here has more than a million bytes, so this may not be a file of users"
  /// Bytes of a JSON array. Decoding it takes a multiple of that in memory.
  static let arrayLimit = 64 << 20

  private let format: UserFileFormat
  private let file: FileHandle
  private let csv = CSVReader()
  private var lines: LineReader
  private var header: [UserDocument.CodingKeys] = []
  private var array: (users: [JSONUser], next: Int, bytes: Int)?

  init(_ file: FileHandle, format: UserFileFormat) { (self.file, self.format, lines) = (file, format, LineReader(file)) }

  /// The number of objects that were skipped because they belong to other models than Django's user.
  private(set) var skipped = 0

  /// The number of bytes that have been read.
  var position: Int { array.map { $0.bytes / max(1, $0.users.count) * $0.next } ?? lines.position }

  /// Returns the next user, or `nil` at the end. Throws ``Broken`` if the rest of the file cannot be read.
  mutating func next() throws -> Entry? {
    switch format {
    case .csv: try nextRecord()
    case .jsonl: try nextLine()
    case .dumpdata: try nextObject()
    }
  }

  // MARK: CSV

  private mutating func nextRecord() throws -> Entry? {
    if header.isEmpty { header = try readHeader() }
    guard let (line, values) = try csv.next(&lines) else { return nil }
    return Entry(
      place: ":\(line)",
      fields: Result { () throws(UserDocument.Fault) in
        guard values.count == header.count else { throw .init(reason: "there are \(values.count) values for \(counted(header.count, "column"))") }
        return try UserDocument(Dictionary(uniqueKeysWithValues: zip(header, values).filter { !$1.isEmpty }))
      })
  }

  private mutating func readHeader() throws -> [UserDocument.CodingKeys] {
    guard let (line, names) = try csv.next(&lines) else {
      throw Broken(line: 1, "the file is empty; its first line must name the columns")
    }
    let known = UserDocument.CodingKeys.allCases.map(\.rawValue).joined(separator: ", ")
    let columns = names.compactMap(UserDocument.CodingKeys.init(rawValue:))
    guard columns.count == names.count else { throw Broken(line: line, "there is an unknown column; the columns are \(known)") }
    guard Set(columns).count == columns.count, columns.contains(.username) else {
      throw Broken(line: line, "the first line must name each column once, and username must be one of them")
    }
    return columns
  }

  // MARK: JSON

  private mutating func nextLine() throws -> Entry? {
    while let line = try lines.next() {
      if line.allSatisfy({ [0x20, 0x09, 0x0D, 0x0A].contains($0) }) { continue }
      if let entry = entry(JSONUser(line: line), at: ":\(lines.number)") { return entry }
    }
    return nil
  }

  private mutating func nextObject() throws -> Entry? {
    if array == nil { array = try readArray() }
    while let (users, next, _) = array, next < users.count {
      array?.next += 1
      // Django writes the whole array on one line, and Foundation's decoder reports no lines.
      if let entry = entry(users[next], at: ": object \(next + 1)") { return entry }
    }
    return nil
  }

  /// Returns the entry for an object, or `nil` if the object belongs to another model: a dump may contain several.
  private mutating func entry(_ user: JSONUser, at place: String) -> Entry? {
    switch user.result {
    case .success(nil):
      skipped += 1
      return nil
    case .success(let document?): return Entry(place: place, fields: .success(document))
    case .failure(let fault): return Entry(place: place, fields: .failure(fault))
    }
  }

  private func readArray() throws -> (users: [JSONUser], next: Int, bytes: Int) {
    var data = Data()
    do {
      while data.count <= Self.arrayLimit, let more = try file.read(upToCount: 1 << 20), !more.isEmpty { data += more }
    } catch {
      throw Broken(line: nil, "the file cannot be read")
    }
    guard data.count <= Self.arrayLimit else {
      throw Broken(line: nil, "the JSON array has more than \(Self.arrayLimit >> 20) MiB; write the dump with `dumpdata --format jsonl` instead")
    }
    guard let users = try? JSONDecoder().decode([JSONUser].self, from: data) else {
      throw Broken(line: nil, "this is not a complete JSON array, as dumpdata writes it; for one object per line, use --format jsonl")
    }
    return (users, 0, data.count)
  }
}
