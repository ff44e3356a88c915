import Foundation
import PasswordReset

/// The formats for the import and export of users.
enum UserFileFormat: String, CaseIterable {
  /// A header line with the names of the columns, then one line per user (RFC 4180).
  case csv
  /// One JSON object per line: a user, or an object as `manage.py dumpdata --format jsonl` writes it.
  case jsonl
  /// The JSON array that `manage.py dumpdata auth.user` writes and `loaddata` reads.
  case dumpdata
  /// The rows as `INTO OUTFILE`, `mysqldump --tab` and `mysql --batch` write them. Only an import reads it.
  case mysql

  /// Guesses the format from the extension of the file name. Ignores that of a compressed file, whose content gives a
  /// better error than its name.
  init?(path: String) {
    let name = path as NSString
    let isCompressed = ["gz", "bz2", "xz", "lzma", "zst", "zip"].contains(name.pathExtension.lowercased())
    switch ((isCompressed ? name.deletingPathExtension : path) as NSString).pathExtension.lowercased() {
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
    var user: Result<UserDocument, UserDocument.Fault>
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
  /// The column that the file must have.
  var nameColumn = UserColumn.username
  private let csv = CSVReader()
  private var outfile = OutfileReader()
  private var lines: LineReader
  /// The columns of the header, with `nil` for those that are ignored.
  private var header: [UserColumn?] = []
  private var array: (users: [JSONUser], next: Int, bytes: Int)?

  /// Reads the start of a file. Throws ``Broken`` if it cannot be a file of users in this format.
  /// - Parameter columns: the columns of a file whose first line does not name them.
  init(_ file: FileHandle, format: UserFileFormat, columns: [String]? = nil) throws {
    (self.format, lines) = (format, try LineReader(file))
    if let reason = FileSignature.problem(of: lines.start, format) { throw Broken(line: nil, reason) }
    header = try columns.map { try Self.columns($0, line: nil) } ?? []
  }

  /// The number of objects that were skipped because they belong to other models than Django's user.
  private(set) var skipped = 0

  /// The number of bytes that have been read.
  var position: Int { array.map { $0.bytes / max(1, $0.users.count) * $0.next } ?? lines.position }

  /// Returns the next user, or `nil` at the end. Throws ``Broken`` if the rest of the file cannot be read.
  mutating func next() throws -> Entry? {
    switch format {
    case .csv, .mysql: try nextRecord()
    case .jsonl: try nextLine()
    case .dumpdata: try nextObject()
    }
  }

  // MARK: CSV and MySQL

  private mutating func nextValues() throws -> (line: Int, values: [String?])? {
    format == .mysql ? try outfile.next(&lines) : try csv.next(&lines)
  }

  private mutating func nextRecord() throws -> Entry? {
    if header.isEmpty { header = try readHeader() }
    guard header.contains(nameColumn) else { throw Broken(line: nil, "the column \(nameColumn.rawValue) is missing") }
    guard let (line, values) = try nextValues() else { return nil }
    guard values.count == header.count else {
      return Entry(place: ":\(line)", user: .failure(.init(reason: "there are \(values.count) values for \(counted(header.count, "column"))")))
    }
    var user = UserDocument([:])
    for case let (column?, value?) in zip(header, values) {
      // MySQL writes NULL as \N. The columns for names are never NULL.
      if format == .mysql || value != #"\N"# || column == .firstName || column == .lastName { user.values[column] = value }
    }
    return Entry(place: ":\(line)", user: .success(user))
  }

  private mutating func readHeader() throws -> [UserColumn?] {
    guard let (line, values) = try nextValues() else {
      throw Broken(line: 1, "the file is empty; its first line must name the columns")
    }
    guard values.allSatisfy({ $0.flatMap(Int.init) == nil }) else {
      throw Broken(line: line, "the first line must name the columns; if it is a user, add --columns id,password,… in the order of the file")
    }
    return try Self.columns(values.map { $0 ?? "" }, line: line)
  }

  /// Returns the columns with these names, and `nil` for those that are ignored.
  private static func columns(_ names: [String], line: Int?) throws -> [UserColumn?] {
    let columns = names.map(UserColumn.init(rawValue:))
    for (name, column) in zip(names, columns) where column == nil && !UserColumn.ignored.contains(name) {
      throw Broken(line: line, UserColumn.unknown(name))
    }
    guard Set(names).count == names.count else { throw Broken(line: line, "each column must be named once") }
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
    case .success(let document?): return Entry(place: place, user: .success(document))
    case .failure(let fault): return Entry(place: place, user: .failure(fault))
    }
  }

  private mutating func readArray() throws -> (users: [JSONUser], next: Int, bytes: Int) {
    guard let data = try lines.rest(upTo: Self.arrayLimit) else {
      throw Broken(line: nil, "the JSON array has more than \(Self.arrayLimit >> 20) MiB; write the dump with `dumpdata --format jsonl` instead")
    }
    guard let users = try? JSONDecoder().decode([JSONUser].self, from: data) else {
      throw Broken(line: nil, "this is not a complete JSON array, as dumpdata writes it; for one object per line, use --format jsonl")
    }
    return (users, 0, data.count)
  }
}
