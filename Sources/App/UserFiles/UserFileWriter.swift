import Foundation
import PasswordReset

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

    init(_ user: UserDocument) {
      pk = user.values[.id].flatMap(Int64.init)
      fields = Fields(user: user)
      fields.user.values[.id] = nil
    }
  }

  private let file: FileHandle
  private let format: UserFileFormat
  private var isFirst = true

  /// Writes what comes before the first user.
  init(_ file: FileHandle, format: UserFileFormat) throws {
    (self.file, self.format) = (file, format)
    switch format {
    case .csv: try write(UserColumn.list.replacing(", ", with: ",") + "\n")
    // The command refuses mysql before it creates the file.
    case .jsonl, .mysql: break
    case .dumpdata: try write("[")
    }
  }

  mutating func write(_ users: [UserDocument]) throws {
    var text = Data()
    for user in users {
      switch format {
      case .csv: text += Data((UserColumn.allCases.map { Self.csv(user.values[$0]) }.joined(separator: ",") + "\n").utf8)
      case .jsonl, .mysql: text += try Output.encoder.encode(user) + Data("\n".utf8)
      case .dumpdata: text += Data((isFirst ? "\n" : ",\n").utf8) + (try Output.encoder.encode(DumpedObject(user)))
      }
      isFirst = false
    }
    try write(text)
  }

  /// Writes what comes after the last user.
  func finish() throws { if format == .dumpdata { try write("\n]\n") } }

  private func write(_ text: String) throws { try write(Data(text.utf8)) }

  private func write(_ data: Data) throws(CommandError) {
    do { try file.write(contentsOf: data) } catch {
      throw CommandError(message: "Cannot write the users: \(error.localizedDescription)")
    }
  }

  /// Writes NULL as nothing and an empty text as `""`, as PostgreSQL and SQLite do.
  private static func csv(_ value: String?) -> String {
    guard let value else { return "" }
    let isPlain = !value.isEmpty && !value.utf8.contains { [0x22, 0x2C, 0x0A, 0x0D].contains($0) }
    return isPlain ? value : "\"\(value.replacingOccurrences(of: "\"", with: "\"\""))\""
  }
}
