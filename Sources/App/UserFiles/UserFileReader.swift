import Foundation

/// The forms in which users are imported and exported.
enum UserFileFormat: String, CaseIterable {
  /// A header line with the names of the columns, then a line for each user (RFC 4180).
  case csv
  /// A JSON object a line.
  case jsonl
  /// What Django's `manage.py dumpdata auth.user` prints, and `loaddata` reads.
  case dumpdata

  /// By the ending of the file's name.
  init?(path: String) {
    switch (path as NSString).pathExtension.lowercased() {
    case "csv": self = .csv
    case "jsonl", "ndjson": self = .jsonl
    case "json": self = .dumpdata
    default: return nil
    }
  }
}

/// A user in a file, or why there is none, and the line at which it begins.
struct UserFileEntry {
  var line: Int
  var fields: Result<UserDocument, UserDocument.Fault>
}

/// Reads users from a file one by one, so that a file of any size takes little memory.
struct UserFileReader {
  /// The file cannot be read on from here.
  struct Broken: Error {
    var line: Int
    var reason: String
  }

  private let format: UserFileFormat
  private var bytes: ByteReader
  private var header: [UserDocument.CodingKeys] = []
  private var hasBegun = false
  private var isAtEnd = false
  private var broken: Broken?

  init(_ file: FileHandle, format: UserFileFormat) {
    self.format = format
    bytes = ByteReader(file)
  }

  /// How many objects of a dump are no users of Django's own model.
  private(set) var passedOver = 0

  /// How many bytes have been read.
  var position: Int { bytes.position }

  /// The next user; nil at the end. Throws ``Broken``, and again whenever it is called after that.
  mutating func next() throws -> UserFileEntry? {
    if let broken { throw broken }
    if isAtEnd { return nil }
    do {
      let entry = try nextEntry()
      isAtEnd = entry == nil
      return entry
    } catch let error as Broken {
      broken = error
      throw error
    }
  }

  private mutating func nextEntry() throws -> UserFileEntry? {
    defer { hasBegun = true }
    switch format {
    case .csv: return try nextCSV()
    case .jsonl: return try nextLine()
    case .dumpdata: return try nextObject()
    }
  }

  // MARK: CSV

  private mutating func nextCSV() throws -> UserFileEntry? {
    if !hasBegun { header = try csvHeader() }
    guard let (line, values) = try bytes.csvRecord() else { return nil }
    guard values.count == header.count else {
      return UserFileEntry(line: line, fields: .failure(.init(reason: "there are \(values.count) values for \(header.count) columns")))
    }
    return UserFileEntry(line: line, fields: Result { () throws(UserDocument.Fault) in try Self.fields(zip(header, values)) })
  }

  private mutating func csvHeader() throws -> [UserDocument.CodingKeys] {
    guard let (line, names) = try bytes.csvRecord() else { throw Broken(line: 1, reason: "the file is empty; its first line must name the columns") }
    let known = UserDocument.CodingKeys.allCases.map(\.rawValue).joined(separator: ", ")
    let columns = try names.map { name in
      guard let column = UserDocument.CodingKeys(rawValue: name) else {
        throw Broken(line: line, reason: "there is no column of that name; there are \(known)")
      }
      return column
    }
    guard Set(columns).count == columns.count, columns.contains(.username) else {
      throw Broken(line: line, reason: "the first line must name the columns, each once, and among them username")
    }
    return columns
  }

  private static func fields(_ values: some Sequence<(UserDocument.CodingKeys, String)>) throws(UserDocument.Fault) -> UserDocument {
    var fields = UserDocument()
    for (column, value) in values where !value.isEmpty {
      switch column {
      case .id:
        guard let id = Int64(value) else { throw .init(reason: "id is no number") }
        fields.id = id
      case .username: fields.username = value
      case .email: fields.email = value
      case .first_name: fields.first_name = value
      case .last_name: fields.last_name = value
      case .password: fields.password = value
      case .is_active: fields.is_active = try flag(value, column)
      case .is_staff: fields.is_staff = try flag(value, column)
      case .is_superuser: fields.is_superuser = try flag(value, column)
      case .last_login: fields.last_login = value
      case .date_joined: fields.date_joined = value
      }
    }
    return fields
  }

  private static func flag(_ value: String, _ column: UserDocument.CodingKeys) throws(UserDocument.Fault) -> Bool {
    switch value.lowercased() {
    case "true", "1", "t": return true
    case "false", "0", "f": return false
    default: throw .init(reason: "\(column.rawValue) must be true or false")
    }
  }

  // MARK: JSON

  private mutating func nextLine() throws -> UserFileEntry? {
    while let (line, text) = try bytes.textLine() {
      if text.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
      return UserFileEntry(line: line, fields: Self.decode(UserDocument.self, text))
    }
    return nil
  }

  private mutating func nextObject() throws -> UserFileEntry? {
    while let (line, text) = try bytes.arrayElement(isFirst: !hasBegun) {
      hasBegun = true
      switch Self.decode(DumpedObject.self, text) {
      case .failure(let fault): return UserFileEntry(line: line, fields: .failure(fault))
      case .success(let object):
        // A dump may hold other tables, too.
        guard object.model == "auth.user" else {
          passedOver += 1
          continue
        }
        guard var fields = object.fields else { return UserFileEntry(line: line, fields: .failure(.init(reason: "fields is missing"))) }
        fields.id = object.pk
        return UserFileEntry(line: line, fields: .success(fields))
      }
    }
    return nil
  }

  private static func decode<Value: Decodable>(_ type: Value.Type, _ text: [UInt8]) -> Result<Value, UserDocument.Fault> {
    do {
      return .success(try JSONDecoder().decode(type, from: Data(text)))
    } catch DecodingError.typeMismatch(_, let context) {
      return .failure(.init(reason: "\(context.codingPath.last?.stringValue ?? "the line") has the wrong type"))
    } catch DecodingError.keyNotFound(let key, _) {
      return .failure(.init(reason: "\(key.stringValue) is missing"))
    } catch let fault as UserDocument.Fault {
      return .failure(fault)
    } catch {
      return .failure(.init(reason: "this is not a JSON object, or a number in it is out of range"))
    }
  }

  private struct DumpedObject: Decodable {
    private enum CodingKeys: CodingKey {
      case model, pk, fields
    }

    var model: String
    var pk: Int64?
    var fields: UserDocument?

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      model = try container.decode(String.self, forKey: .model)
      guard model == "auth.user" else { return }
      pk = try container.decodeIfPresent(Int64.self, forKey: .pk)
      fields = try container.decodeIfPresent(UserDocument.self, forKey: .fields)
    }
  }
}

extension UserDocument {
  private struct AnyKey: CodingKey {
    let stringValue: String
    let intValue: Int? = nil

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  /// What a dump says of a user beyond its row.
  private static let relations: Set = ["groups", "user_permissions"]

  init(from decoder: any Decoder) throws {
    let names = Set(try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue))
    if let unknown = names.subtracting(CodingKeys.allCases.map(\.rawValue)).subtracting(Self.relations).min() {
      // A slip in a name must not pass for a missing value. The name is data, so only its length is bounded.
      throw Fault(reason: "there is no member \(unknown.prefix(40).debugDescription)")
    }
    let container = try decoder.container(keyedBy: CodingKeys.self)
    id = try container.decodeIfPresent(Int64.self, forKey: .id)
    username = try container.decodeIfPresent(String.self, forKey: .username)
    email = try container.decodeIfPresent(String.self, forKey: .email)
    first_name = try container.decodeIfPresent(String.self, forKey: .first_name)
    last_name = try container.decodeIfPresent(String.self, forKey: .last_name)
    password = try container.decodeIfPresent(String.self, forKey: .password)
    is_active = try container.decodeIfPresent(Bool.self, forKey: .is_active)
    is_staff = try container.decodeIfPresent(Bool.self, forKey: .is_staff)
    is_superuser = try container.decodeIfPresent(Bool.self, forKey: .is_superuser)
    last_login = try container.decodeIfPresent(String.self, forKey: .last_login)
    date_joined = try container.decodeIfPresent(String.self, forKey: .date_joined)
  }
}
