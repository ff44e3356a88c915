import Credentials
import Foundation
import GRDB
import PasswordReset
import SQLiteStore
import Testing

/// Filters, and the requests of the lines that they leave.
private let filters: [([String], [String])] = [
  ([], ["r1", "r2", "r3", "r4"]), (["--limit", "2"], ["r3", "r4"]), (["--event", "mailed"], ["r1", "r3"]), (["--event", "set_by_staff"], []),
  (["--user", "alice"], ["r1", "r3", "r4"]), (["--identifier", "ALICE@example.com"], ["r1", "r3"]),
  (["--identifier", "nobody@example.com"], ["r2"]), (["--identifier", "stranger@example.com"], []), (["--request-id", "r2"], ["r2"]),
  (["--request-id", "' OR 1 = 1 --"], []), (["--since", "90m"], ["r3", "r4"]), (["--since", "24h"], ["r2", "r3", "r4"]),
  (["--since", "7d"], ["r1", "r2", "r3", "r4"]), (["--since", "2020-01-01"], ["r1", "r2", "r3", "r4"]), (["--since", "2999-01-01"], []),
  (["--event", "mailed", "--user", "alice", "--since", "24h"], ["r3"]),
]

/// `password-reset audit`, as an operator runs it.
@Suite struct `The audit command` {
  private static let oldKey = "an-older-secret-key-0123456789-0123456789"
  private static let keys = ["SECRET_KEY": Harness.secretKey, "SECRET_KEY_FALLBACKS": oldKey]

  private let folder: Folder
  private let store: SQLiteStore

  init() throws {
    folder = try Folder()
    store = try SQLiteStore(path: folder.path + "/password-reset.sqlite3")
    try store.migrate()
  }

  /// Four lines: `r1` of four days ago and under a key from before, `r2` of two hours ago, `r3` of ten minutes ago, `r4` of now.
  private func fill() async throws {
    let alice = try #require(try await store.addUser(username: "alice", email: "alice@example.com", password: "!", at: Date()))
    func key(_ text: String, _ secret: String = Harness.secretKey) -> String { IdentifierHasher(secretKey: secret).key(for: text) }
    let lines: [(AuditRecord, TimeInterval)] = [
      (AuditRecord(.mailed, userID: alice, identifierKey: key("alice@example.com", Self.oldKey)), 4 * 86400),
      (AuditRecord(.noAccount, identifierKey: key("nobody@example.com")), 7200),
      (AuditRecord(.mailed, userID: alice, identifierKey: key("alice@example.com")), 600),
      (AuditRecord(.reset, userID: alice), 0),
    ]
    for (index, (record, age)) in lines.enumerated() {
      try await store.record(record, requestID: "r\(index + 1)", at: Date().addingTimeInterval(-age))
    }
  }

  /// The requests of the lines that are shown, in their order.
  private func requests(_ arguments: [String], _ environment: [String: String] = Self.keys) async throws -> [String] {
    let run = try await folder.run(["audit"] + arguments, environment)
    #expect(run.status == 0, "\(run.errors)")
    return run.output.split(separator: "\n").dropFirst().compactMap { $0.split(separator: " ").last.map(String.init) }
  }

  @Test(arguments: filters)
  func `shows the newest lines to which all filters apply, the newest last`(_ arguments: [String], _ expected: [String]) async throws {
    try await fill()
    #expect(try await requests(arguments) == expected)
  }

  @Test func `finds an address under the keys that are configured alone, and none without a key`() async throws {
    try await fill()
    #expect(try await requests(["--identifier", "alice@example.com"], ["SECRET_KEY": Harness.secretKey]) == ["r3"])
    #expect(try await requests(["--identifier", "alice@example.com"], ["SECRET_KEY": Self.oldKey]) == ["r1"])
    let run = try await folder.run(["audit", "--identifier", "alice@example.com"])
    #expect(run.status == 78 && run.errors.contains("SECRET_KEY") && run.output.isEmpty)
    // Nothing else needs one.
    #expect(try await requests(["--user", "alice"], [:]) == ["r1", "r3", "r4"])
  }

  @Test(arguments: [
    ("2026-05-01", true), ("2026-05-01T12:00", true), ("2026-05-01 12:00:00", true), ("2026-05-01T12:00:00.000Z", true),
    ("2026-05-01T14:00:00+02:00", true), ("2026-05-01T06:30:00-05:30", true), ("2026-05-02", false), ("2026-05-01T12:00:01Z", false),
    ("2026-05-01T14:00:01+02:00", false), ("2026-05-01T06:31-05:30", false),
  ])
  func `takes a day, or a time of any zone`(_ since: String, _ isShown: Bool) async throws {
    let noon = try Date("2026-05-01T12:00:00Z", strategy: .iso8601)
    try await store.record(AuditRecord(.reset, userID: 1), requestID: "r1", at: noon)
    #expect(try await requests(["--since", since]) == (isShown ? ["r1"] : []))
  }

  @Test(arguments: [
    ["--since", "yesterday"], ["--since", ""], ["--since", "7w"], ["--since", "2026-02-30"], ["--since", "2026-05-01T25:00"],
    ["--since", "2026-05-01T12:00+1:00"], ["--since", "٣h"], ["--since", "99999999999d"], ["--event", "pigeon"], ["--limit", "0"],
    ["--limit", "100001"],
  ])
  func `exits 64 on a filter that means nothing, and names it`(_ arguments: [String]) async throws {
    let run = try await folder.run(["audit"] + arguments)
    #expect(run.status == 64 && run.errors.contains(arguments[0]), "\(run.errors)")
  }

  @Test func `exits 67 for a user that is not there, and 78 without a database`() async throws {
    #expect(try await folder.run(["audit", "--user", "nobody"]).status == 67)
    let empty = try Folder()
    #expect(try await empty.run(["audit"]).status == 78)
    #expect(try FileManager.default.contentsOfDirectory(atPath: empty.path).isEmpty)
  }

  @Test func `prints columns that cannot act on the terminal, and JSON for programs`() async throws {
    let time = try Date("2026-05-01T12:00:00Z", strategy: .iso8601)
    let key = IdentifierHasher(secretKey: Harness.secretKey).key(for: "alice@example.com")
    try await store.record(AuditRecord(.mailed, userID: 7, identifierKey: key), requestID: "\u{1B}[31mred", at: time)
    let text = try await folder.run(["audit"]).output.split(separator: "\n")
    #expect(text.first == "TIME                 EVENT        USER     IDENTIFIER                       REQUEST")
    #expect(text.last == "2026-05-01T12:00:00Z mailed       7        \(key) \u{FFFD}[31mred")
    let lines = try await folder.run(["audit", "--json"]).output.split(separator: "\n")
    let row = try #require(try lines.first.map { try JSONSerialization.jsonObject(with: Data($0.utf8)) } as? [String: Any])
    #expect(lines.count == 1 && row["at"] as? String == "2026-05-01T12:00:00Z" && row["event"] as? String == "mailed")
    #expect(row["user_id"] as? Int == 7 && row["identifier_key"] as? String == key && row["request_id"] as? String == "\u{1B}[31mred")
  }

  @Test func `shows a line that another release wrote`() async throws {
    try DatabaseQueue(path: folder.path + "/password-reset.sqlite3").inDatabase { db in
      try db.execute(sql: "INSERT INTO password_reset_audit (at, event, request_id) VALUES (0, 'pigeon_sent', 'r1')")
    }
    #expect(try await folder.run(["audit"]).output.contains("1970-01-01T00:00:00Z pigeon_sent  -        -"))
  }

  @Test func `is purged of lines from before a date, the oldest first, a batch at a time`() async throws {
    let now = Date()
    for age in 1...5 {
      try await store.record(AuditRecord(.reset, userID: 1), requestID: "r\(age)", at: now.addingTimeInterval(-86400 * Double(age)))
    }
    let date = now.addingTimeInterval(-86400 * 2.5)
    #expect(try await store.purgeAudit(before: date, limit: 2) == 2)
    #expect(try await requests([]) == ["r3", "r2", "r1"])
    #expect(try await store.purgeAudit(before: date, limit: 2) == 1)
    #expect(try await store.purgeAudit(before: date, limit: 2) == 0)
    #expect(try await requests([]) == ["r2", "r1"])
  }
}
