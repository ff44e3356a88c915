public import Credentials
import Foundation

extension AfterReset.Statement {
  /// The statements that can neither end the transaction nor change how the connection works.
  private static let keywords: Set = ["DELETE", "INSERT", "MERGE", "REPLACE", "SELECT", "UPDATE", "WITH"]

  /// Returns what is wrong with a statement of the settings on every kind of database, or `nil`.
  public static func fault(in sql: String) -> String? {
    if sql.utf8.contains(0) { return "must not contain NUL." }
    let word = keyword(of: sql)
    guard keywords.contains(word) else {
      let list = keywords.sorted().joined(separator: ", ")
      return "must be one statement that begins with \(list); it must not control the transaction that sets the password."
    }
    guard sql.contains(":user_id") else {
      return "must contain the parameter :user_id; without it, the statement would change the rows of all users."
    }
    return nil
  }

  /// Returns the first word after white space and comments, in upper case.
  private static func keyword(of sql: String) -> String {
    var rest = Substring(sql)
    while true {
      rest = rest.drop(while: \.isWhitespace)
      if rest.hasPrefix("--") {
        rest = rest.drop { !$0.isNewline }
      } else if rest.hasPrefix("/*"), let end = rest.firstRange(of: "*/") {
        rest = rest[end.upperBound...]
      } else {
        return rest.prefix { $0.isASCII && $0.isLetter }.uppercased()
      }
    }
  }
}

extension AfterReset.Assignment {
  /// Returns why the value cannot be assigned to the column, or `nil` if it can.
  /// - Parameter found: the columns that the users table has.
  public func fault(in found: [TableColumn], of users: UserMapping) -> String? {
    guard let field = found.first(where: { $0.isNamed(column) }) else {
      return "the table \(users.table) has no column \(column); its columns are \(found.map(\.name).joined(separator: ", "))"
    }
    if column == users.columns[.id] { return "\(column) is the key of the table \(users.table), which must stay the same" }
    if column == users.columns[.password] { return "\(column) has the password, which the reset itself sets" }
    if field.isGenerated { return "the database computes the column \(column), so that no one can write it" }
    guard let need = value.need, !need.isMet(field) else { return nil }
    return "\(need.name) needs a column with \(need.noun), but \(column) has the type \(field.type.isEmpty ? "of any value" : field.type)"
  }
}

extension AfterReset.Value {
  /// The columns that a kind of value can be assigned to.
  fileprivate struct Need {
    var name, noun: String
    var isMet: (TableColumn) -> Bool
  }

  fileprivate var need: Need? {
    switch self {
    case .randomText(let length): Need(name: "random:\(length)", noun: "text") { $0.kinds.contains(.text) }
    case .now: Need(name: "now", noun: "a time") { $0.kinds.contains(.time) || $0.type.lowercased() == "date" }
    case .uuid: Need(name: "uuid", noun: "a UUID or text") { [.uuid, .uuidDigits, .text].contains($0.key) }
    case .increment: Need(name: "increment", noun: "a whole number") { $0.key == .integer }
    case .constant: nil
    }
  }
}

extension AfterReset {
  /// Returns what the audit keeps about a reset: how many rows each entry changed.
  /// - Parameter rows: the numbers of rows, in the order of the entries.
  package func detail(rows: [Int]) -> String {
    let results = zip(entries.indices, rows).map { index, rows in Detail.Result(entries[index], number: index + 1, rows: rows) }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Text and numbers can always be encoded.
    guard let data = try? encoder.encode(Detail(afterReset: results)) else { return "{}" }
    return String(decoding: data, as: UTF8.self)
  }

  private struct Detail: Encodable {
    struct Result: Encodable {
      var preset: String?
      /// The columns.
      var set: [String]?
      /// The number of the entry in the list.
      var sql: Int?
      var rows: Int

      init(_ entry: Entry, number: Int, rows: Int) {
        self.rows = rows
        switch entry {
        case .preset(let name): preset = name.rawValue
        case .set(let assignments): set = assignments.map(\.column)
        case .sql: sql = number
        }
      }
    }

    var afterReset: [Result]

    enum CodingKeys: String, CodingKey { case afterReset = "after_reset" }
  }
}

extension AfterReset {
  private static let presetsOfTokens: [Preset] = [.drfTokens, .simpleJWT, .knox, .oauth2Provider, .laravelTokens]

  /// Returns a risk for each well-known package whose tokens stay valid after a reset.
  /// - Parameter hasTable: returns whether the database has a table.
  package func risks<Failure>(_ hasTable: (String) throws(Failure) -> Bool) throws(Failure) -> [DatabaseRisk] {
    var risks: [DatabaseRisk] = []
    for preset in Self.presetsOfTokens {
      guard let table = preset.statements.first?.tables.last?.name, !concerns(table, preset), try hasTable(table) else { continue }
      risks.append(
        DatabaseRisk(
          .unendedTokens, "The site has the table \(table), and AFTER_RESET has no entry for it, so that tokens stay valid after a reset.",
          hint: "Add {\"preset\": \"\(preset.rawValue)\"} to AFTER_RESET; see docs/after-reset.md."))
    }
    return risks
  }

  private func concerns(_ table: String, _ preset: Preset) -> Bool {
    entries.contains { entry in
      if case .sql(let text) = entry { text.contains(table) } else { entry == .preset(preset) }
    }
  }
}

extension AuditRecord {
  /// Creates the record of a change that an entry of `AFTER_RESET` prevented.
  public init(afterResetFailure reason: String, of change: PasswordChange) {
    self.init(afterResetFailure: reason, userID: change.user.id)
    clientKey = change.clientKey
  }

  /// Creates the record of a change that an entry of `AFTER_RESET` prevented.
  public init(afterResetFailure reason: String, userID: UserID) {
    // A text can always be encoded.
    let encoded = (try? JSONEncoder().encode(["error": reason])).map { String(decoding: $0, as: UTF8.self) }
    self.init(.afterResetFailed, userID: userID, detail: encoded)
  }
}

extension StoreOpenError {
  /// An entry of `AFTER_RESET` does not fit the database.
  /// - Parameter entry: the number of the entry, from 1.
  public static func unusableAfterReset(entry: Int, _ reason: String) -> Self {
    Self(
      .unusableAfterReset,
      "AFTER_RESET: entry \(entry): \(reason). Correct or remove the entry; docs/after-reset.md has examples. Nothing was changed")
  }

  /// A table of a preset is missing.
  public static func missingTable(_ table: String, of preset: AfterReset.Preset?, entry: Int) -> Self {
    .unusableAfterReset(
      entry: entry,
      """
      the preset \(preset?.rawValue ?? "") needs the table \(table), which the database does not have; run the site's migrations, or write {"sql": …} \
      if the table has another name
      """)
  }

  /// The entries were tried for a user, and failed.
  public static func failingAfterReset(_ reason: String) -> Self {
    Self(
      .failingAfterReset,
      "AFTER_RESET was tried for a user, and rolled back: \(reason). Every reset would fail. Correct or remove the entry. Nothing was changed")
  }
}
