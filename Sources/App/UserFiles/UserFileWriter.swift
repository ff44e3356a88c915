import Foundation

/// Writes users to a file that ``UserFileReader`` can read. Django can read the `dumpdata` format.
struct UserFileWriter {
  private struct DumpedObject: Encodable {
    struct Fields: Encodable {
      var user: UserDocument

      func encode(to encoder: any Encoder) throws {
        try user.encode(to: encoder)
        var relations = encoder.container(keyedBy: RelationKeys.self)
        try relations.encode([String](), forKey: .groups)
        try relations.encode([String](), forKey: .userPermissions)
      }
    }

    enum RelationKeys: CodingKey {
      case groups, userPermissions
    }

    var model = "auth.user"
    var pk: Int64?
    var fields: Fields
  }

  private let file: FileHandle
  private let format: UserFileFormat
  private var isFirst = true

  /// Writes what comes before the first user.
  init(_ file: FileHandle, format: UserFileFormat) throws {
    (self.file, self.format) = (file, format)
    switch format {
    case .csv: try file.write(contentsOf: Self.csvLine(UserDocument.CodingKeys.allCases.map(\.rawValue)))
    case .jsonl: break
    case .dumpdata: try file.write(contentsOf: Data("[".utf8))
    }
  }

  mutating func write(_ users: [UserDocument]) throws {
    var text = Data()
    for var user in users {
      switch format {
      case .csv: text += Self.csvLine(Self.values(user))
      case .jsonl: text += try Output.encoder.encode(user) + Data("\n".utf8)
      case .dumpdata:
        let id = user.id
        user.id = nil
        text += Data((isFirst ? "\n" : ",\n").utf8) + (try Output.encoder.encode(DumpedObject(pk: id, fields: .init(user: user))))
      }
      isFirst = false
    }
    try file.write(contentsOf: text)
  }

  /// Writes what comes after the last user.
  func finish() throws { if format == .dumpdata { try file.write(contentsOf: Data("\n]\n".utf8)) } }

  private static func values(_ user: UserDocument) -> [String] {
    let flags = [user.isActive, user.isStaff, user.isSuperuser].map { $0.map(String.init) ?? "" }
    let texts = [user.username, user.email, user.firstName, user.lastName, user.password].map { $0 ?? "" }
    return [user.id.map(String.init) ?? ""] + texts + flags + [user.lastLogin ?? "", user.dateJoined ?? ""]
  }

  private static func csvLine(_ values: [String]) -> Data {
    let quoted = values.map { value in
      value.utf8.contains { [0x22, 0x2C, 0x0A, 0x0D].contains($0) } ? "\"\(value.replacingOccurrences(of: "\"", with: "\"\""))\"" : value
    }
    return Data((quoted.joined(separator: ",") + "\n").utf8)
  }
}
