import GRDB
import PasswordReset
import SQLiteStore
import TestSupport
import Testing

/// What the ports cannot express about allauth's table in SQLite.
@Suite struct `allauth's table in SQLite` {
  private let harness: Harness

  init() throws {
    harness = try Harness()
    try SQLiteStore(path: harness.path).migrate()
    try harness.execute(AllauthSite.table())
  }

  @Test func `is searched by its indexes, however many addresses there are`() async throws {
    // allauth's own indexes.
    try harness.execute("CREATE INDEX by_user ON account_emailaddress (user_id); CREATE INDEX by_email ON account_emailaddress (email)")
    let seen = Recorder()
    let store = try SQLiteStore(path: harness.path, users: UserTable(name: "auth_user", usesAllauth: true)) { seen.add($0) }
    try store.migrate()
    let start = seen.lines.count
    _ = try await store.users(matching: .email("a@b.co"))
    _ = try await store.users(matching: .username("a"))
    _ = try await store.user(id: 1)
    let statements = seen.lines.dropFirst(start).filter { $0.contains("FROM ") }
    #expect(statements.count == 4)
    for statement in statements {
      let explain = "EXPLAIN QUERY PLAN \(statement.replacing(/\?\d?/, with: "1"))"
      let plan = try harness.sql { db in try Row.fetchAll(db, sql: explain).map { $0["detail"] as String } }
      #expect(plan.contains { $0.contains("SEARCH account_emailaddress USING INDEX") }, "\(plan)")
      #expect(!plan.contains { $0.firstMatch(of: /^SCAN |TEMP B-TREE/) != nil }, "\(plan)")
    }
  }

  @Test func `with a value that is not text in it gives that user no email, and the others theirs`() async throws {
    let store = try SQLiteStore(path: harness.path, users: UserTable(name: "auth_user", usesAllauth: true))
    try store.migrate()
    for name in ["a", "b"] { _ = try await store.addUser(username: name, email: "shared@example.com", password: "x", at: harness.clock.now) }
    try harness.execute("INSERT INTO account_emailaddress VALUES (1, 'ok@example.com', true, false, 1), (2, x'ff00', true, false, 1)")
    let users = try await store.users(matching: .email("shared@example.com"))
    #expect(users.map(\.username) == ["b"])
    #expect(try await store.damagedUser(matching: .email("shared@example.com"))?.text == "1")
    #expect(try await store.users(matching: .email("ok@example.com")) == [])
  }
}
