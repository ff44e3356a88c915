import Foundation
import GRDB
import HummingbirdTesting
import PasswordReset
import SQLiteStore
import Testing

@testable import App

private let hash = "'\(RandomUserTable.hash)'"
private let hashes = [hash, hash, hash]
private let addresses = RandomUserTable.addresses.map { literal($0) }

/// What SQLite offers.
private struct SQLiteDialect: TableDialect {
  let nameLimit = 200
  let distinguishesCase = false
  let loginType = "DATETIME"

  private static let texts = ["'k\u{e9}y'", "'ke\u{301}y'", "'a''b %1$'"]
  private static let uuids = ["'0f8fad5bd9cb469fa16570867728950e'", "'7c9e6679742540de944be07fc1f90ae7'", "'00000000000000000000000000000000'"]
  private static let long = ["'0f8fad5b-d9cb-469f-a165-70867728950e'", "'7c9e6679-7425-40de-944b-e07fc1f90ae7'", "'x'"]

  let ids = [
    Declaration("INTEGER PRIMARY KEY", ["1", "2", "3"]), Declaration("INTEGER PRIMARY KEY", ["9223372036854775807", "0", "5"]),
    Declaration("INTEGER PRIMARY KEY NOT NULL", ["7", "8", "9"]),
    Declaration("INT NOT NULL UNIQUE", ["7", "8", "9"]), Declaration("BIGINT UNSIGNED PRIMARY KEY", ["7", "8", "NULL"]),
    Declaration("TEXT PRIMARY KEY NOT NULL", texts), Declaration("TEXT PRIMARY KEY", ["'a'", "NULL", "NULL"]),
    Declaration("VARCHAR(40) NOT NULL UNIQUE", texts), Declaration("CHAR(32) NOT NULL PRIMARY KEY", uuids),
    Declaration("CHAR(36) NOT NULL UNIQUE", long), Declaration("TEXT COLLATE NOCASE NOT NULL UNIQUE", ["'Key'", "'key2'", "'KEY3'"]),
    Declaration({ "TEXT NOT NULL UNIQUE GENERATED ALWAYS AS ('k' || \($0.other)) STORED" }, []),
    Declaration({ "TEXT NOT NULL UNIQUE GENERATED ALWAYS AS ('k' || \($0.other)) VIRTUAL" }, []),
    Declaration("TEXT COLLATE NOCASE NOT NULL", ["'abc'", "'ABC'", "'Abc'"], .either) {
      [
        "CREATE UNIQUE INDEX exact ON \($0.table) (\($0.id) COLLATE BINARY)",
        "UPDATE \($0.table) SET \($0.email) = 'target@example.com', \($0.other) = 'target@example.com' WHERE \($0.id) = 'ABC' COLLATE BINARY",
      ]
    },
    Declaration("TEXT UNIQUE", ["'a'", "'b'", "NULL"], .refused), Declaration("INTEGER NOT NULL", ["1", "1", "1"], .refused),
    Declaration("BLOB PRIMARY KEY NOT NULL", ["x'01'", "x'02'", "x'03'"], .refused), Declaration("REAL PRIMARY KEY", ["1", "2", "3"], .refused),
    Declaration("NUMERIC NOT NULL UNIQUE", ["1", "2", "3"], .refused),
    Declaration("TEXT NOT NULL", texts, .refused) { ["CREATE UNIQUE INDEX part ON \($0.table) (\($0.id)) WHERE \($0.id) > 'a'"] },
    Declaration("TEXT NOT NULL", texts, .refused) { ["CREATE UNIQUE INDEX lowered ON \($0.table) (lower(\($0.id)))"] },
    Declaration("TEXT NOT NULL", texts, .refused) { ["CREATE UNIQUE INDEX two ON \($0.table) (\($0.id), \($0.email))"] },
  ]
  let emails = [
    Declaration("TEXT", addresses), Declaration("VARCHAR(254) NOT NULL", addresses), Declaration("TEXT COLLATE NOCASE", addresses),
    Declaration("TEXT COLLATE RTRIM DEFAULT ''", addresses), Declaration("TEXT NOT NULL DEFAULT 'x'", addresses),
    Declaration({ "TEXT GENERATED ALWAYS AS (lower(\($0.other))) VIRTUAL" }, []),
    Declaration({ "TEXT GENERATED ALWAYS AS (\($0.other)) STORED" }, []),
    Declaration("INTEGER", addresses, .refused), Declaration("BLOB", addresses, .refused), Declaration("", addresses, .refused),
  ]
  let passwords = [
    Declaration("TEXT", hashes), Declaration("VARCHAR(128) NOT NULL", hashes), Declaration("VARCHAR(60)", hashes),
    Declaration("TEXT COLLATE NOCASE", hashes),
    Declaration("TEXT", ["NULL", "NULL", "NULL"]), Declaration("TEXT DEFAULT ''", ["''", "''", "''"]),
    Declaration("TEXT UNIQUE", ["'legacy-1'", "'LEGACY-1'", "'l3'"]),
    Declaration({ "TEXT CHECK (length(\($0.password)) >= 8)" }, hashes),
    Declaration({ "TEXT CHECK (length(\($0.password)) <= 60)" }, hashes, .refused),
    Declaration({ "TEXT CHECK (\($0.password) NOT LIKE 'pbkdf2%')" }, hashes, .refused), Declaration("INTEGER", hashes, .refused),
    Declaration("BLOB", hashes, .refused), Declaration({ "TEXT GENERATED ALWAYS AS (\($0.other)) STORED" }, [], .refused),
  ]
  let activities = [
    Activity(json: { _ in NSNull() }), Activity(json: { $0 }, column: Declaration("BOOLEAN NOT NULL", ["1", "1", "0"])),
    Activity(json: { $0 }, column: Declaration("INTEGER", ["1", "1", "NULL"])),
    Activity(json: { [$0: false] }, column: Declaration("BOOL", ["0", "0", "1"])),
    Activity(json: { [$0: NSNull()] }, column: Declaration("TEXT", ["NULL", "NULL", "''"])),
    Activity(json: { [$0: ["new", "a'c\"; --"]] }, column: Declaration("TEXT", ["'a''c\"; --'", "'new'", "'a'"])),
    Activity(json: { [$0: [7, NSNull()]] }, column: Declaration("INTEGER", ["7", "NULL", "8"])),
    Activity(json: { [$0: 7] }, column: Declaration("TEXT", ["'7'", "'7'", "'8'"])),
    Activity(json: { [$0: "7"] }, column: Declaration("INTEGER", ["7", "7", "8"])),
    Activity(json: { [$0: "x"] }, column: Declaration("BLOB", ["'x'", "'x'", "x'78'"])),
    Activity(json: { [$0: true] }, column: Declaration("TEXT", ["1", "1", "0"], .refused)), Activity(json: { [$0: true] }, verdict: .refused),
    Activity(json: { $0 }, column: Declaration("TEXT", ["1", "1", "0"], .refused)), Activity(json: { _ in "" }, verdict: .refused),
    Activity(json: { [$0: 1.5] }, verdict: .refused), Activity(json: { [$0: ["a": 1]] }, verdict: .refused),
    Activity(json: { [$0: []] }, verdict: .refused),
    Activity(json: { [$0: [[1]]] }, verdict: .refused), Activity(json: { _ in 1 }, verdict: .refused),
    Activity(json: { _ in [String: Any]() }, verdict: .refused),
    Activity(json: { [$0: "x\u{0}y"] }, column: Declaration("TEXT", ["'x'", "'x'", "'y'"]), verdict: .refused),
  ]
  let obstacles =
    ["ABORT", "FAIL", "ROLLBACK"].map { kind in
      Obstacle(statements: { ["CREATE TRIGGER t BEFORE UPDATE ON \($0.table) BEGIN SELECT RAISE(\(kind), 'never'); END"] }, verdict: .refused)
    } + [
      Obstacle(statements: { ["CREATE TRIGGER t AFTER UPDATE ON \($0.table) BEGIN SELECT RAISE(ROLLBACK, 'never'); END"] }, verdict: .refused),
      Obstacle(statements: { ["CREATE TRIGGER t BEFORE UPDATE ON \($0.table) BEGIN SELECT RAISE(IGNORE); END"] }, verdict: .refused),
      Obstacle(
        statements: {
          ["CREATE TRIGGER t BEFORE UPDATE ON \($0.table) WHEN old.\($0.other) <> 'target@example.com' BEGIN SELECT RAISE(ABORT, 'not this'); END"]
        }, verdict: .works),
      Obstacle(
        statements: {
          [
            """
            CREATE TRIGGER t AFTER UPDATE OF \($0.password) ON \($0.table)
            BEGIN UPDATE \($0.table) SET \($0.password) = old.\($0.password) WHERE \($0.other) = new.\($0.other); END
            """
          ]
        }, verdict: .either),
      Obstacle(
        statements: {
          [
            """
            CREATE TRIGGER t AFTER UPDATE OF \($0.password) ON \($0.table)
            BEGIN UPDATE \($0.table) SET \($0.password) = upper(\($0.password)) WHERE \($0.other) = new.\($0.other); END
            """
          ]
        }, verdict: .refused),
      Obstacle(
        statements: {
          ["CREATE TRIGGER t AFTER UPDATE OF \($0.password) ON \($0.table) BEGIN UPDATE canary SET value = missing; END"]
        }, verdict: .refused),
      Obstacle(
        statements: {
          [
            "CREATE TABLE log (entry TEXT)",
            "CREATE TRIGGER t AFTER UPDATE ON \($0.table) BEGIN INSERT INTO log SELECT 'changed' WHERE (SELECT count(*) FROM log) < 0; END",
          ]
        }, verdict: .works),
      Obstacle(statements: { ["ALTER TABLE \($0.table) RENAME TO base"] }, verdict: .refused),
      Obstacle(statements: { ["ALTER TABLE \($0.table) RENAME TO base", "CREATE VIEW \($0.table) AS SELECT * FROM base"] }, verdict: .refused),
      Obstacle(statements: { ["ALTER TABLE \($0.table) RENAME TO base", "CREATE INDEX \($0.table) ON base (1)"] }, verdict: .refused),
      Obstacle(statements: { ["ALTER TABLE \($0.table) RENAME TO base", "CREATE VIRTUAL TABLE \($0.table) USING fts5(x)"] }, verdict: .refused),
      Obstacle(statements: { ["CREATE INDEX \"password_reset_canary_x\" ON \($0.table) (\($0.password))"] }, verdict: .works),
    ]

  func create(_ table: String, _ columns: [String], id: String, using generator: inout SeededGenerator) -> (statements: [String], verdict: Verdict) {
    let list = columns.joined(separator: ", ")
    if list.contains("PRIMARY KEY"), generator.once(in: 3) { return (["CREATE TABLE \(table) (\(list)) WITHOUT ROWID"], .works) }
    let strict = list.replacing(/VARCHAR\(\d+\)|CHAR\(36\)|DATETIME/, with: "TEXT").replacing(/BOOL(EAN)?|BIGINT UNSIGNED/, with: "INTEGER")
    if !list.contains("CHAR(32)"), generator.once(in: 4) { return (["CREATE TABLE \(table) (\(strict)) STRICT"], .works) }
    return (["CREATE TABLE \(table) (\(list))"], .works)
  }
}

@Suite struct `A random users table in SQLite` {
  /// What SQLite says about combinations that it does not allow: NULL as a key of a table WITHOUT ROWID, a change of a generated
  /// address, and columns and values that a STRICT table cannot have.
  private static let impossible = ["NOT NULL constraint failed", "generated column", "missing datatype", "unknown datatype", "cannot store"]

  @Test(arguments: 0..<500) func `is served with the right row changed, or refused unchanged`(_ seed: Int) async throws {
    let table = try RandomUserTable(seed: seed, SQLiteDialect())
    let harness = try Harness()
    let queue = try DatabaseQueue(path: harness.path)
    do {
      try await queue.write { db in for statement in table.statements { try db.execute(sql: statement) } }
    } catch let error as DatabaseError
      where Self.impossible.contains(where: { error.message?.contains($0) == true })
    {
      return
    }
    try queue.close()
    let bytes = try Data(contentsOf: URL(fileURLWithPath: harness.path))
    let before = try contents(harness)
    let environment = ["USERS_TABLE": table.name, "USERS_COLUMNS": table.usersColumns]
    let place: Comment = "seed \(seed): \(environment) \(table.statements)"
    do {
      try await harness.run(environment) { client in
        #expect(table.verdict != .refused, place)
        try await reset(table, harness, client, before, place)
      }
    } catch let error as StoreOpenError {
      #expect(table.verdict != .works, "\(error) \(place)")
      #expect(error.kind == .foreignUserTable && error.description.contains(table.name), "\(error) \(place)")
      #expect(try Data(contentsOf: URL(fileURLWithPath: harness.path)) == bytes, place)
    } catch let error as SettingsError {
      #expect(table.verdict == .refused && "\(error)".contains("USERS_"), "\(error) \(place)")
      #expect(try Data(contentsOf: URL(fileURLWithPath: harness.path)) == bytes, place)
    }
  }

  private func reset(
    _ table: RandomUserTable, _ harness: Harness, _ client: any TestClientProtocol, _ before: [[[DatabaseValue]]], _ place: Comment
  ) async throws {
    if table.isInactiveKnown { #expect(try await client.requestReset(email: "inactive@example.com").status == 202, place) }
    #expect(try await client.requestReset(email: "target@example.com").status == 202, place)
    try await harness.drained()
    let links = harness.mails.sent
    try #require(!links.isEmpty && links.allSatisfy { $0.recipient == "target@example.com" }, "\(links.map(\.recipient)) \(place)")
    #expect(try contents(harness) == before, place)
    let link = try await harness.link(to: "target@example.com")
    let reply = try await client.setPassword(link, "a-Fine-pass-77")
    #expect(reply.status == 200, "\(reply.text) \(harness.log.lines.suffix(3)) \(place)")
    try await harness.drained()
    #expect(try await client.setPassword(link, "another-Fine-pass-78").code == "invalid_link", place)
    #expect(harness.mails.sent.allSatisfy { $0.recipient == "target@example.com" }, place)
    let after = try contents(harness)
    var changes: [(table: Int, row: Int, column: Int)] = []
    for (number, rows) in before.enumerated() {
      for (row, values) in rows.enumerated() {
        for (column, value) in values.enumerated() where after[number][row][column] != value { changes.append((number, row, column)) }
      }
    }
    #expect(before.map(\.count) == after.map(\.count) && changes.count == 1, "\(changes) \(place)")
    guard let change = changes.first else { return }
    #expect(change.column == table.position(of: table.password), place)
    #expect(before[change.table][change.row][table.position(of: table.email)] == "target@example.com".databaseValue, place)
    #expect(harness.hasher.verify("a-Fine-pass-77", encoded: String.fromDatabaseValue(after[change.table][change.row][change.column]) ?? ""), place)
  }

  /// Returns every value of every table of the site.
  private func contents(_ harness: Harness) throws -> [[[DatabaseValue]]] {
    let queue = try DatabaseQueue(path: harness.path)
    defer { try? queue.close() }
    return try queue.read { db in
      let tables = try String.fetchAll(
        db,
        sql:
          "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'password_reset_*' AND name NOT GLOB 'grdb_*' AND name NOT GLOB 'sqlite_*' ORDER BY rowid"
      )
      return try tables.map { table in
        try Row.fetchAll(db, sql: "SELECT * FROM \(quoted(table))").map { Array($0.databaseValues) }
      }
    }
  }
}
