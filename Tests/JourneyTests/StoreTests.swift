import Foundation
import GRDB
import PasswordReset
import Testing

@testable import SQLiteStore

@Suite struct `The database` {
  private let harness: Harness

  init() throws { harness = try Harness() }

  private func open() throws -> SQLiteStore {
    let store = try SQLiteStore(path: harness.path)
    try store.migrate()
    return store
  }

  @Test func `and its log files are readable by the owner alone`() async throws {
    let store = try open()
    try await store.enqueue(.email("a@b.co"), locale: nil, requestID: "r", at: Date(), due: Date())
    for suffix in ["", "-wal", "-shm"] {
      let attributes = try FileManager.default.attributesOfItem(atPath: harness.path + suffix)
      #expect(attributes[.posixPermissions] as? Int == 0o600, "\(suffix)")
    }
  }

  @Test func `has every safety setting on every connection`() throws {
    let store = try open()
    let expected = ["journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "foreign_keys": "1", "trusted_schema": "0"]
    for (name, value) in expected {
      let read: @Sendable (Database) throws -> String? = { db in try String.fetchOne(db, sql: "PRAGMA \(name)") }
      #expect(try store.pool.read(read) == value)
      #expect(try store.pool.writeWithoutTransaction(read) == value)
    }
  }

  @Test func `is left as it is by a second migration, and by eight at once`() async throws {
    let schema: @Sendable (Database) throws -> [String] = { db in
      try String.fetchAll(db, sql: "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY sql")
    }
    let path = harness.path
    try await withThrowingTaskGroup { group in
      for _ in 0..<8 { group.addTask { try SQLiteStore(path: path).migrate() } }
      try await group.waitForAll()
    }
    let before = try harness.sql(schema)
    _ = try open()
    #expect(try harness.sql(schema) == before)
    #expect(before.contains { $0.contains("password_reset_auth_user_email") })
  }

  @Test func `of a newer release is refused`() throws {
    _ = try open()
    try harness.execute("INSERT INTO grdb_migrations VALUES ('99 future')")
    #expect(throws: StoreOpenError.self) { try open() }
  }

  @Test func `with a users table that is not Django's is refused, with the columns that are missing`() throws {
    try harness.execute("CREATE TABLE auth_user (id INTEGER PRIMARY KEY, username TEXT, email TEXT)")
    let error = #expect(throws: StoreOpenError.self) { try open() }
    #expect(error?.description.contains("password") == true)
  }

  @Test func `finds users by address, name and key with an index, however many there are`() throws {
    let store = try open()
    for (condition, index) in [
      ("email = 'a@b.co' COLLATE NOCASE", "password_reset_auth_user_email"), ("username = 'a'", "sqlite_autoindex_auth_user_1"),
      ("id = 1", "INTEGER PRIMARY KEY"),
    ] {
      let plan = try store.pool.read { db in try Row.fetchAll(db, sql: "EXPLAIN QUERY PLAN SELECT * FROM auth_user WHERE \(condition) ORDER BY id") }
      #expect(plan.contains { "\($0["detail"] as String)".contains(index) }, "\(plan)")
    }
    let claim = try store.pool.read { db in
      try Row.fetchAll(
        db, sql: "EXPLAIN QUERY PLAN SELECT id FROM password_reset_outbox WHERE buried_at IS NULL AND due_at <= 1 ORDER BY due_at LIMIT 1")
    }
    #expect(claim.map { $0["detail"] as String } == ["SEARCH password_reset_outbox USING INDEX password_reset_outbox_due (due_at<?)"])
  }

  @Test func `with a damaged user works for the others, and that one gets nothing`() async throws {
    let store = try open()
    for name in ["a", "b"] { _ = try await store.addUser(username: name, email: "\(name)@example.com", password: "x", at: Date()) }
    for damage in ["password = x'00ff'", "last_login = 'never'", "last_login = 12345", "is_active = 'maybe'", "email = x'61'", "last_login = x'00'"] {
      try harness.execute("UPDATE auth_user SET password = 'x', last_login = NULL, is_active = 1, email = 'a@example.com' WHERE id = 1")
      #expect(try await store.user(id: 1) != nil)
      try harness.execute("UPDATE auth_user SET \(damage) WHERE id = 1")
      #expect(try await store.user(id: 1) == nil, "\(damage)")
      #expect(try await store.users(matching: .username("b")).count == 1)
    }
  }

  @Test func `gives a last login to the second, in every form that Django reads`() async throws {
    let store = try open()
    _ = try await store.addUser(username: "a", email: "a@example.com", password: "x", at: Date())
    for stored in ["2026-01-02 03:04:05.678901", "2026-01-02 03:04:05", "2026-01-02T03:04:05.678901", "2026-01-02 03:04:05+00:00"] {
      try harness.execute("UPDATE auth_user SET last_login = ?", [stored])
      let user = try #require(try await store.user(id: 1))
      #expect(user.lastLogin == "2026-01-02 03:04:05")
      #expect(try await store.setPassword("y", for: user, requestID: "r", at: Date()))
      try harness.execute("UPDATE auth_user SET password = 'x'")
    }
  }

  @Test func `changes a password with its audit row and its notice, or not at all`() async throws {
    let store = try open()
    _ = try await store.addUser(username: "a", email: "a@example.com", password: "x", at: Date())
    let user = try #require(try await store.user(id: 1))
    for table in ["password_reset_audit", "password_reset_outbox"] {
      try harness.execute("CREATE TRIGGER fault BEFORE INSERT ON \(table) BEGIN SELECT RAISE(ABORT, 'fault'); END")
      await #expect(throws: StoreError.self) { try await store.setPassword("y", for: user, requestID: "r", at: Date()) }
      try harness.execute("DROP TRIGGER fault")
      #expect(try harness.password(of: 1) == "x")
      #expect(try harness.count("SELECT (SELECT count(*) FROM password_reset_audit) + (SELECT count(*) FROM password_reset_outbox)") == 0)
    }
    #expect(try await store.setPassword("y", for: user, requestID: "r", at: Date()))
    #expect(try await store.setPassword("z", for: user, requestID: "r", at: Date()) == false)
    #expect(try harness.password(of: 1) == "y")
    #expect(try harness.count("SELECT (SELECT count(*) FROM password_reset_audit) + (SELECT count(*) FROM password_reset_outbox)") == 2)
  }

  @Test func `locked by somebody makes a request wait, then answers it`() async throws {
    let harness = harness
    try await harness.run { client in
      var configuration = Configuration()
      configuration.allowsUnsafeTransactions = true
      let locked = try DatabaseQueue(path: harness.path, configuration: configuration)
      try locked.inDatabase { db in try db.execute(sql: "BEGIN IMMEDIATE") }
      async let reply = client.requestReset(email: "alice@example.com")
      #expect(try await client.get("/health/live").status == 200)
      #expect(try await client.get("/health/ready").status == 200)
      try locked.inDatabase { db in try db.execute(sql: "ROLLBACK") }
      #expect(try await reply.status == 202)
    }
  }
}
