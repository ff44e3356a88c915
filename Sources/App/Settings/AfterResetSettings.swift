import Foundation
import PasswordReset

extension AfterReset {
  /// The most entries, and bytes in a statement. Each reset runs all of them while other writes wait.
  private static let limit = (entries: 50, bytes: 10_000)
  private static let randomLengths = 8...255
  private static let example = #"[{"preset": "drf_tokens"}, {"set": {"token_version": "increment"}}, {"sql": "DELETE … WHERE user_id = :user_id"}]"#

  /// Reads `AFTER_RESET`. The time zone is that of the database's settings.
  init(from reader: inout SettingsReader) { self.init(reader.value(.afterReset, Self.entries)) }

  private static func entries(_ json: String) throws(SettingsReader.Invalid) -> [Entry] {
    // The decoder's own error is not shown, because it is not about settings.
    guard let documents = try? JSONDecoder().decode([EntryDocument].self, from: Data(json.utf8)) else {
      throw SettingsReader.Invalid("must be a JSON list of objects, such as \(example).", hint: "docs/after-reset.md describes it.")
    }
    if documents.count > limit.entries { throw SettingsReader.Invalid("must have at most \(limit.entries) entries.") }
    var entries: [Entry] = []
    for (index, document) in documents.enumerated() {
      do throws(Fault) {
        let entry = try entry(document)
        if let first = entries.firstIndex(of: entry) { throw Fault("is the same as entry \(first + 1). Remove one of them.") }
        entries.append(entry)
      } catch {
        throw SettingsReader.Invalid("has an error: entry \(index + 1) \(error.message)", hint: "docs/after-reset.md describes it.")
      }
    }
    return entries
  }

  /// Why an entry cannot be used.
  private struct Fault: Error {
    /// The rest of a sentence about the entry.
    var message: String

    init(_ message: String) { self.message = message }
  }

  private static func entry(_ document: EntryDocument) throws(Fault) -> Entry {
    guard case .object(let members) = document, members.count == 1, let (name, value) = members.first else {
      throw Fault("must be an object with exactly one member: preset, set or sql.")
    }
    switch name {
    case "preset": return .preset(try preset(value))
    case "set": return .set(try assignments(value))
    case "sql": return .sql(try statement(value))
    default: throw Fault("has the unknown member \(shown(name)). Write preset, set or sql.")
    }
  }

  private static func preset(_ value: MemberDocument) throws(Fault) -> Preset {
    let names = Preset.allCases.map(\.rawValue).joined(separator: ", ")
    guard case .text(let name) = value else { throw Fault("must have the name of a preset: \(names).") }
    guard let preset = Preset(rawValue: name) else { throw Fault("has the unknown preset \(shown(name)). The presets are \(names).") }
    return preset
  }

  private static func statement(_ value: MemberDocument) throws(Fault) -> String {
    guard case .text(let sql) = value else { throw Fault("must have one statement of SQL as a text.") }
    if sql.utf8.count > limit.bytes { throw Fault("must have a statement of at most \(limit.bytes) bytes.") }
    if let fault = Statement.fault(in: sql) { throw Fault(fault) }
    return sql
  }

  private static func assignments(_ value: MemberDocument) throws(Fault) -> [Assignment] {
    guard case .columns(let columns) = value, !columns.isEmpty else {
      throw Fault(#"must have an object of columns, such as {"set": {"session_nonce": "random:12", "must_change_password": false}}."#)
    }
    var assignments: [Assignment] = []
    for (column, value) in columns.sorted(by: { $0.key < $1.key }) {
      guard UserTable.isName(column) else { throw Fault("must have the name of a column instead of \(shown(column)).") }
      assignments.append(Assignment(column: column, value: try Self.value(value, of: column)))
    }
    return assignments
  }

  private static func value(_ document: ValueDocument, of column: String) throws(Fault) -> Value {
    switch document {
    case .constant(.text(let text)), .exact(.text(let text)):
      if text.utf8.contains(0) { throw Fault("must not have NUL in the value of \(shown(column)), because no column can hold it.") }
      if case .exact = document { return .constant(.text(text)) }
      return try word(text, of: column)
    case .constant(let value), .exact(let value): return .constant(value)
    case .other:
      throw Fault("must have a text, a whole number, true, false or null as the value of \(shown(column)); write a fraction as a text.")
    }
  }

  /// Returns what a text means that is not in an object with the member `value`.
  private static func word(_ text: String, of column: String) throws(Fault) -> Value {
    switch text {
    case "now": return .now
    case "uuid": return .uuid
    case "increment": return .increment
    default: break
    }
    guard text.hasPrefix("random:") else { return .constant(.text(text)) }
    guard let length = Int(text.dropFirst("random:".count)), randomLengths.contains(length) else {
      throw Fault(
        """
        must have random:N for \(shown(column)), with N from \(randomLengths.lowerBound) to \(randomLengths.upperBound); \
        write {"value": "random:…"} for that very text.
        """)
    }
    return .randomText(length)
  }

  private static func shown(_ text: String) -> String { printable(String(text.prefix(40))).debugDescription }
}

/// An entry as JSON has it.
private enum EntryDocument: Decodable {
  case object([String: MemberDocument])
  case other

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    self = (try? container.decode([String: MemberDocument].self)).map(Self.object) ?? .other
  }
}

/// The value of an entry's member.
private enum MemberDocument: Decodable {
  case text(String)
  case columns([String: ValueDocument])
  case other

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    // Each attempt that fails only says that it is another kind of value.
    if let text = try? container.decode(String.self) {
      self = .text(text)
    } else if let columns = try? container.decode([String: ValueDocument].self) {
      self = .columns(columns)
    } else {
      self = .other
    }
  }
}

/// The value of a column.
private enum ValueDocument: Decodable {
  /// A value, or a word such as `now`.
  case constant(ActiveValues.Value)
  /// The value in `{"value": …}`, which is never a word.
  case exact(ActiveValues.Value)
  case other

  private struct Exact: Decodable { var value: ConstantDocument }

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let constant = try? container.decode(ConstantDocument.self) {
      self = .constant(constant.value)
    } else if let names = try? container.decode([String: ConstantDocument].self), names.count == 1, let exact = names["value"] {
      self = .exact(exact.value)
    } else {
      self = .other
    }
  }
}
