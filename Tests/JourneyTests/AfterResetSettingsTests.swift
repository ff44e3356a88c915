import Foundation
import PasswordReset
import Testing

@testable import App
@testable import PostgresStore

@Suite struct `The setting AFTER_RESET` {
  private func read(_ json: String) throws -> AfterReset {
    var reader = SettingsReader(environment: ["AFTER_RESET": json])
    let users = UserTable(from: &reader)
    try reader.throwErrors()
    return users.afterReset
  }

  @Test func `is empty by default`() throws {
    var reader = SettingsReader(environment: [:])
    #expect(UserTable(from: &reader) == .django && reader.findings.isEmpty)
  }

  @Test func `can have a literal with any number of quotation marks`() throws {
    let sql = "DELETE FROM s WHERE a = E'" + String(repeating: "''", count: 500_000) + "' AND user_id = :user_id"
    let statement = try NamedParameters(sql, types: ["user_id": "bigint"])
    #expect(statement.names == ["user_id"] && statement.sql.hasSuffix("'' AND user_id = CAST($1 AS bigint)"))
  }

  @Test func `has presets, columns and statements in their order`() throws {
    let json = #"""
      [{"sql": " -- why\n/* and how */ delete from s WHERE user_id = :user_id"}, {"preset": "knox"}, {"set": {"b": "random:12", "a": "now",
       "c": false, "d": "increment", "e": "uuid", "f": {"value": "now"}, "g": {"value": "random:12"}, "h": -7, "i": null, "j": "text",
       "k": {"value": null}}}]
      """#
    let values: [(String, AfterReset.Value)] = [
      ("a", .now), ("b", .randomText(12)), ("c", .constant(.boolean(false))), ("d", .increment), ("e", .uuid), ("f", .constant(.text("now"))),
      ("g", .constant(.text("random:12"))), ("h", .constant(.number(-7))), ("i", .constant(.null)), ("j", .constant(.text("text"))),
      ("k", .constant(.null)),
    ]
    let entries = try read(json).entries
    #expect(entries.count == 3 && entries[1] == .preset(.knox))
    #expect(entries[0] == .sql(" -- why\n/* and how */ delete from s WHERE user_id = :user_id"))
    #expect(entries[2] == .set(values.map { AfterReset.Assignment(column: $0, value: $1) }))
  }

  private static let wrong: KeyValuePairs = [
    "knox": "must be a JSON list of objects", "{\"preset\": \"knox\"}": "must be a JSON list of objects", "[{": "must be a JSON list",
    "[\"knox\"]": "entry 1 must be an object with exactly one member: preset, set or sql.",
    "[{}]": "entry 1 must be an object with exactly one member",
    "[{\"preset\": \"knox\", \"sql\": \"x\"}]": "entry 1 must be an object with exactly one",
    "[{\"preset\": \"knox\"}, {\"presets\": \"knox\"}]": "entry 2 has the unknown member \"presets\". Write preset, set or sql.",
    "[{\"preset\": \"drf\"}]": "entry 1 has the unknown preset \"drf\". The presets are drf_tokens, simplejwt, knox",
    "[{\"preset\": 1}]": "entry 1 must", "[{\"preset\": \"knox\"}, {\"preset\": \"knox\"}]": "entry 2 is the same as entry 1",
    "[{\"set\": {}}]": "entry 1 must have an object of columns", "[{\"set\": \"now\"}]": "entry 1 must have an object of columns",
    "[{\"set\": {\"\": 1}}]": "entry 1 must have the name of a column", "[{\"set\": {\"a\": 1.5}}]": "write a fraction as a text",
    "[{\"set\": {\"a\": [1]}}]": "as the value of \"a\"", "[{\"set\": {\"a\": {\"val\": 1}}}]": "as the value of \"a\"",
    "[{\"set\": {\"a\": \"random:\"}}]": "with N from 8 to 255", "[{\"set\": {\"a\": \"random:7\"}}]": "with N from 8 to 255",
    "[{\"set\": {\"a\": \"random:256\"}}]": "write {\"value\": \"random:…\"} for that very text",
    "[{\"set\": {\"a\": \"\\u0000\"}}]": "must not have NUL", "[{\"sql\": \"DELETE FROM s\"}]": "must contain the parameter :user_id",
    "[{\"sql\": \"COMMIT -- :user_id\"}]": "must not control the transaction",
    "[{\"sql\": \"/* :user_id */ rollback\"}]": "must not control the transaction",
    "[{\"sql\": \"SAVEPOINT a -- :user_id\"}]": "begins with DELETE, INSERT", "[{\"sql\": \"PRAGMA user_version = 1 -- :user_id\"}]": "begins with",
    "[{\"sql\": \"ATTACH 'x' AS y -- :user_id\"}]": "begins with", "[{\"sql\": \"CALL f(:user_id)\"}]": "begins with",
    "[{\"sql\": \"DO $$ :user_id $$\"}]": "begins with", "[{\"sql\": \"\"}]": "begins with", "[{\"sql\": [\"DELETE\"]}]": "entry 1 must",
    "[{\"sql\": \"EXPLAIN DELETE FROM s WHERE user_id = :user_id\"}]": "begins with",
  ]

  @Test(arguments: Array(wrong)) func `names the entry and the remedy if it is wrong`(_ json: String, _ message: String) throws {
    let error = #expect(throws: SettingsError.self) { try read(json) }
    let finding = try #require(error?.findings.first)
    #expect(error?.findings.count == 1 && finding.kind == .invalidSetting && finding.setting == .afterReset)
    #expect(finding.message.hasPrefix("AFTER_RESET ") && finding.message.contains(message), "\(finding.message)")
    #expect(finding.hint == "docs/after-reset.md describes it.")
  }

  @Test func `has the time zone of the site, in which times without one are stored`() throws {
    let settings = ["AFTER_RESET": #"[{"preset": "knox"}]"#, "TIME_ZONE": "Asia/Tokyo"]
    #expect(try DatabaseSettings(environment: settings).users.afterReset.timeZone == .gmt)
    let local = try DatabaseSettings(environment: settings.merging(["USE_TZ": "false"]) { $1 })
    #expect(local.users.afterReset.timeZone.identifier == "Asia/Tokyo")
  }

  @Test func `has the statements that the documentation lists`() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let text = try String(contentsOf: root.appendingPathComponent("docs/after-reset.md"), encoding: .utf8)
    let statements = try #require(text.firstMatch(of: /(?s)```sql\n(.*?)```/)).1.split(separator: "\n").filter { !$0.hasPrefix("--") }.map(
      String.init)
    #expect(statements == Self.documented.flatMap { $0.statements.map { $0.sql() } })
    let columns = try #require(text.firstMatch(of: /(?s)short for `set`:\n\n```yaml\n(.*?)```/)).1
    for preset in AfterReset.Preset.allCases {
      #expect(text.contains("\n| `\(preset.rawValue)` | "), "\(preset) is not documented")
      let sets = preset.assignments.map { "\($0.column): \($0.value == .randomText(60) ? "\"random:60\"" : "null")" }.joined(separator: ", ")
      if !sets.isEmpty { #expect(columns.contains("# \(preset.rawValue)\nset: {\(sets)}\n")) }
    }
  }

  private static let documented = AfterReset.Preset.allCases.filter { !$0.statements.isEmpty }
}
