import Foundation

/// Writes users into a file, in a form that ``UserFileReader`` and, if it is `dumpdata`, Django read.
struct UserFileWriter {
  private struct DumpedObject: Encodable {
    struct Fields: Encodable {
      var user: UserDocument

      func encode(to encoder: any Encoder) throws {
        try user.encode(to: encoder)
        var relations = encoder.container(keyedBy: RelationKeys.self)
        try relations.encode([String](), forKey: .groups)
        try relations.encode([String](), forKey: .user_permissions)
      }
    }

    enum RelationKeys: CodingKey {
      case groups, user_permissions
    }

    var model = "auth.user"
    var pk: Int64?
    var fields: Fields
  }

  private let file: FileHandle
  private let format: UserFileFormat
  private var isFirst = true

  init(_ file: FileHandle, format: UserFileFormat) {
    self.file = file
    self.format = format
  }

  mutating func write(_ users: [UserDocument]) throws {
    var text = Data()
    for user in users {
      switch format {
      case .csv:
        if isFirst { text += Self.csvLine(UserDocument.CodingKeys.allCases.map(\.rawValue)) }
        text += Self.csvLine(Self.values(user))
      case .jsonl: text += try Self.json(user) + Data("\n".utf8)
      case .dumpdata:
        text += Data((isFirst ? "[\n" : ",\n").utf8)
        var user = user
        let id = user.id
        user.id = nil
        text += try Self.json(DumpedObject(pk: id, fields: .init(user: user)))
      }
      isFirst = false
    }
    try file.write(contentsOf: text)
  }

  /// Writes what comes after the last user.
  mutating func finish() throws {
    switch format {
    case .csv: if isFirst { try file.write(contentsOf: Self.csvLine(UserDocument.CodingKeys.allCases.map(\.rawValue))) }
    case .jsonl: break
    case .dumpdata: try file.write(contentsOf: Data((isFirst ? "[]\n" : "\n]\n").utf8))
    }
  }

  private static func values(_ user: UserDocument) -> [String] {
    let flags = [user.is_active, user.is_staff, user.is_superuser].map { $0.map(String.init) ?? "" }
    let texts = [user.username, user.email, user.first_name, user.last_name, user.password].map { $0 ?? "" }
    return [user.id.map(String.init) ?? ""] + texts + flags + [user.last_login ?? "", user.date_joined ?? ""]
  }

  private static func csvLine(_ values: [String]) -> Data {
    let quoted = values.map { value in
      value.utf8.contains { [0x22, 0x2C, 0x0A, 0x0D].contains($0) } ? "\"\(value.replacingOccurrences(of: "\"", with: "\"\""))\"" : value
    }
    return Data((quoted.joined(separator: ",") + "\n").utf8)
  }

  /// One object on one line, its members in the order of their names.
  static func json(_ value: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(value)
  }
}
