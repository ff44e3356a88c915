import Credentials
import Foundation
import GRDB
import HummingbirdTesting
import PasswordReset
import Synchronization
import TestSupport
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
    _ = try await store.enqueue(.request("a@b.co"), audit: AuditRecord(.requested))
    for suffix in ["", "-wal", "-shm"] {
      let attributes = try FileManager.default.attributesOfItem(atPath: harness.path + suffix)
      #expect(attributes[.posixPermissions] as? Int == 0o600, "\(suffix)")
    }
  }

  @Test func `keeps its jobs when a migration rebuilds their table`() async throws {
    try harness.execute(OldDatabase.statements)
    let store = try open()
    let rows = try await store.outboxRows(after: nil, limit: 10, deadLettersOnly: false)
    #expect(rows.map(\.id) == [7, 8] && rows.map(\.lastError) == ["451", "550"] && rows[1].deadLetteredAt != nil)
    #expect(rows[1].kind == "changed_notice" && rows[1].userID == 1)
    #expect(try harness.count("SELECT count(*) FROM password_reset_mail_window WHERE request_id LIKE '%f' AND user_id = '1'") == 1)
    let job = try #require(try await store.claim(.email, limit: 5, owner: "me", at: Date(), leaseEnd: Date().addingTimeInterval(6)).first)
    #expect(job.id == 7 && job.kind == .resetRequest(.email("a@example.com")) && job.locale == "de" && job.attempts == 4)
    _ = try await store.enqueue(.request("b@example.com"), audit: AuditRecord(.requested))
    #expect(try await store.outboxRows(after: nil, limit: 10, deadLettersOnly: false).map(\.id) == [7, 8, 9])
  }

  @Test func `has every safety setting on every connection`() throws {
    let store = try open()
    let expected = ["journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "foreign_keys": "1", "trusted_schema": "1"]
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
    #expect(try harness.count("SELECT count(*) FROM sqlite_master WHERE name <> 'auth_user'") == 0, "the database was changed nevertheless")
  }

  @Test func `finds users and due jobs by an index, however many there are`() async throws {
    let seen = Recorder()
    let store = try SQLiteStore(path: harness.path) { seen.add($0) }
    try store.migrate()
    let start = seen.lines.count
    _ = try await store.users(matching: .email("a@b.co"))
    _ = try await store.users(matching: .username("a"))
    _ = try await store.user(id: 1)
    for channel in JobChannel.allCases {
      _ = try await store.claim(channel, limit: 1, owner: "me", at: Date(), leaseEnd: Date())
      _ = try await store.nextDue(channel, owner: "me")
    }
    let statements = seen.lines.dropFirst(start).filter { $0.contains("FROM ") }
    #expect(statements.count == 7)
    for statement in statements {
      let explain = "EXPLAIN QUERY PLAN \(statement.replacing(/\?\d?/, with: "1"))"
      let plan = try harness.sql { db in try Row.fetchAll(db, sql: explain).map { $0["detail"] as String } }
      // SQLite finds everything by an index, and neither scans nor sorts.
      let whole = plan.filter { $0.firstMatch(of: /^SCAN |TEMP B-TREE/) != nil }
      #expect(whole.isEmpty && plan.contains { $0.contains("USING") }, "\(statement): \(plan)")
    }
  }

  @Test func `finds no user for a key that no user has, next to which there are users`() async throws {
    let store = try open()
    let others = [Int64.min, -1, 0, 1, 6, 8, .max].map { UserID($0) }
    for id in others { #expect(try await store.user(id: id) == nil, "\(id) of none") }
    for name in ["a", "b"] { _ = try await store.addUser(username: name, email: "\(name)@example.com", password: "x", at: Date()) }
    try harness.execute("UPDATE auth_user SET id = id + 4 + (id > 1)")
    for id in others { #expect(try await store.user(id: id) == nil, "\(id)") }
    #expect(try await store.user(id: 5)?.username == "a")
    #expect(try await store.user(id: 7)?.username == "b")
  }

  @Test func `with a damaged user works for the others, and that one gets nothing`() async throws {
    let store = try open()
    for name in ["a", "b"] { _ = try await store.addUser(username: name, email: "\(name)@example.com", password: "x", at: Date()) }
    for damage in [
      "password = x'00ff'", "password = cast(x'c3' AS text)", "last_login = '2026-02-30 10:00'", "last_login = x'c3'", "email = x'61'",
      "username = 'a' || char(0) || 'b'", "email = 'a@example.com' || char(0)", "password = 'x' || char(0)",
    ] {
      try harness.execute(
        "UPDATE auth_user SET username = 'a', password = 'x', last_login = NULL, is_active = 1, email = 'a@example.com' WHERE id = 1")
      #expect(try await store.user(id: 1) != nil)
      try harness.execute("UPDATE auth_user SET \(damage) WHERE id = 1")
      #expect(try await store.user(id: 1) == nil, "\(damage)")
      // SQLite finds the row by its name or address, unless that is what is damaged.
      let found = [try await store.damagedUser(matching: .username("a")), try await store.damagedUser(matching: .email("A@example.com"))]
      #expect(found.contains(1), "\(damage)")
      #expect(try await store.users(matching: .username("b")).count == 1)
    }
  }

  @Test func `dead-letters a damaged job and goes on with the others`() async throws {
    let store = try open()
    let now = Date()
    for index in 0..<3 { _ = try await store.enqueue(.request("a\(index)@example.com", at: now), audit: AuditRecord(.requested)) }
    try harness.execute("UPDATE password_reset_outbox SET kind = 'nonsense' WHERE id = 2")
    let jobs = try await store.claim(.email, limit: 5, owner: "a", at: now, leaseEnd: now.addingTimeInterval(60))
    #expect(jobs.map(\.id) == [1, 3])
    #expect(try await store.outboxRows(after: nil, limit: 5, deadLettersOnly: true).map(\.id) == [2])
  }

  @Test func `gives a last login to the second, in every form that Django reads`() async throws {
    let store = try open()
    _ = try await store.addUser(username: "a", email: "a@example.com", password: "x", at: Date())
    for stored in ["2026-01-02 03:04:05.678901", "2026-01-02 03:04:05", "2026-01-02T03:04:05.678901", "2026-01-02 03:04:05+00:00"] {
      try harness.execute("UPDATE auth_user SET last_login = ?", [stored])
      let user = try #require(try await store.user(id: 1))
      #expect(user.lastLogin == "2026-01-02 03:04:05")
      #expect(try await store.setPassword(change(to: "y", user), at: Date())?.count == 1)
      try harness.execute("UPDATE auth_user SET password = 'x'")
    }
  }

  @Test func `sets a password if the last login is still what was read, in each form that another program may write`() async throws {
    let store = try open()
    _ = try await store.addUser(username: "a", email: "a@example.com", password: "x", at: Date())
    let forms: [(stored: String, read: String?)] = [
      ("'2026-01-02 03:04'", "2026-01-02 03:04:00"), ("'2026-01-02'", "2026-01-02 00:00:00"), ("20260102", "2026-01-02 00:00:00"),
      ("'2026-1-2 3:4:05 +02'", "2026-01-02 03:04:05"), ("'never'", nil), ("''", nil), ("17.5", nil),
      ("x'323032362d30312d3032'", "2026-01-02 00:00:00"),
    ]
    for (stored, read) in forms {
      try harness.execute("UPDATE auth_user SET password = 'x', last_login = \(stored)")
      let user = try #require(try await store.user(id: 1), "\(stored)")
      #expect(user.lastLogin == read, "\(stored)")
      try harness.execute("UPDATE auth_user SET last_login = '2026-01-02 03:04:06'")
      #expect(try await store.setPassword(change(to: "y", user), at: Date()) == nil, "\(stored)")
      try harness.execute("UPDATE auth_user SET last_login = \(stored)")
      #expect(try await store.setPassword(change(to: "y", user), at: Date())?.count == 1, "\(stored)")
    }
  }

  @Test(arguments: ["2", "-1", "'true'", "x'31'", "0"])
  func `lets no one reset a password unless Django reads the user as active`(flag: String) async throws {
    let store = try open()
    _ = try await store.addUser(username: "a", email: "a@example.com", password: "x", at: Date())
    var user = try #require(try await store.user(id: 1))
    try harness.execute("UPDATE auth_user SET is_active = \(flag)")
    #expect(try await store.user(id: 1)?.isActive == false)
    user.isActive = true
    #expect(try await store.setPassword(change(to: "y", user), at: Date()) == nil)
  }

  @Test func `changes a password with its audit row and its notice, or not at all`() async throws {
    let store = try open()
    _ = try await store.addUser(username: "a", email: "a@example.com", password: "x", at: Date())
    let user = try #require(try await store.user(id: 1))
    for table in ["password_reset_audit", "password_reset_outbox"] {
      try harness.execute("CREATE TRIGGER fault BEFORE INSERT ON \(table) BEGIN SELECT RAISE(ABORT, 'fault'); END")
      await #expect(throws: StoreError.self) { try await store.setPassword(change(to: "y", user), at: Date()) }
      try harness.execute("DROP TRIGGER fault")
      #expect(try harness.password(of: 1) == "x")
      #expect(try harness.count("SELECT (SELECT count(*) FROM password_reset_audit) + (SELECT count(*) FROM password_reset_outbox)") == 0)
    }
    #expect(try await store.setPassword(change(to: "y", user), at: Date())?.count == 1)
    #expect(try await store.setPassword(change(to: "z", user), at: Date()) == nil)
    #expect(try harness.password(of: 1) == "y")
    #expect(try harness.count("SELECT (SELECT count(*) FROM password_reset_audit) + (SELECT count(*) FROM password_reset_outbox)") == 2)
  }

  private func change(to encoded: String, _ user: User) -> PasswordChange {
    let notice = NewJob(
      .changedNotice(userID: user.id, recipient: user.email), locale: nil, requestID: "r", createdAt: Date(), due: Date())
    return PasswordChange(user: user, newHash: encoded, event: .reset, requestID: "r", jobs: [notice])
  }

  @Test func `goes on with the writes that arrived during one that failed because the disk was full`() async throws {
    let commits = try open().commits
    let next = Mutex<Task<Int, any Error>?>(nil)
    await #expect(throws: StoreError.self) {
      try await commits.add { _ in
        next.withLock { $0 = Task.immediate { try await commits.add { _ in 1 } } }
        throw DatabaseError(resultCode: .SQLITE_FULL)
      }
    }
    #expect(try await next.withLock { $0 }?.value == 1)
  }

  private func waiting(_ client: any TestClientProtocol, _ answered: Recorder) async throws -> Int {
    let status = try await client.requestReset(email: "alice@example.com").status
    answered.add("\(status)")
    return status
  }

  @Test func `locked for longer than the time-out refuses all that wait, at once and with 503`() async throws {
    let harness = harness
    try await harness.run(policy: .asleep) { client in
      let locked = try harness.openQueue()
      try locked.inDatabase { db in try db.execute(sql: "BEGIN IMMEDIATE") }
      let before = harness.statements.lines.count
      let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
        for _ in 0..<20 { group.addTask { try await client.requestReset(email: "alice@example.com").status } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(statuses == Array(repeating: 503, count: 20))
      // The service waited for the lock once, and not once for each batch that had gathered. It began to wait before if the worker was writing
      // when the lock was taken.
      #expect(harness.statements.lines.dropFirst(before).filter { $0.hasPrefix("BEGIN IMMEDIATE") }.count <= 1)
      try locked.inDatabase { db in try db.execute(sql: "ROLLBACK") }
      #expect(try await client.requestReset(email: "alice@example.com").status == 202)
    }
  }

  @Test func `locked while times are corrected keeps the leases that others get meanwhile`() async throws {
    let statements = harness.statements
    let store = try SQLiteStore(path: harness.path, onStatement: { statements.add($0) })
    try store.migrate()
    let clock = TestClock()
    _ = try await store.enqueue(.request(at: clock.now.addingTimeInterval(86400)), audit: AuditRecord(.requested))
    let other = try harness.openQueue()
    try other.inDatabase { db in try db.execute(sql: "BEGIN IMMEDIATE") }
    let before = statements.lines.count
    async let corrected = store.correctTimes(.email, lease: 6, longestWait: .zero) { clock.now }
    try await eventually("the correction to wait for the lock") { statements.lines.dropFirst(before).contains { $0.hasPrefix("BEGIN IMMEDIATE") } }
    // The store waits for five seconds at most; this clock shows more, as after a pause of the machine.
    clock.advance(by: 60)
    let due = clock.now.addingTimeInterval(6).milliseconds
    try other.inDatabase { db in
      try db.execute(
        sql:
          "INSERT INTO password_reset_outbox (kind, identifier, request_id, created_at, due_at, owner) VALUES ('request_email', 'a', 'held', ?, ?, 'other')",
        arguments: [clock.now.milliseconds, due])
      try db.execute(sql: "COMMIT")
    }
    #expect(try await corrected == 1)
    #expect(try harness.count("SELECT count(*) FROM password_reset_outbox WHERE request_id = 'held' AND due_at = \(due)") == 1)
  }

  @Test func `locked while an email is counted keeps what others count meanwhile`() async throws {
    let statements = harness.statements
    let store = try SQLiteStore(path: harness.path, onStatement: { statements.add($0) })
    try store.migrate()
    let clock = TestClock()
    let other = try harness.openQueue()
    try other.inDatabase { db in try db.execute(sql: "BEGIN IMMEDIATE") }
    let before = statements.lines.count
    let email = EmailReservation(addressKey: "k", requestID: "waits", userID: 1, limits: [RateLimit(count: 1, seconds: 3600)], totalLimits: [])
    async let allowance = store.reserve(email) { clock.now }
    try await eventually("the email to wait for the lock") { statements.lines.dropFirst(before).contains { $0.hasPrefix("BEGIN IMMEDIATE") } }
    // The store waits for five seconds at most; this clock shows more, as after a pause of the machine.
    clock.advance(by: 600)
    try other.inDatabase { db in
      try db.execute(
        sql: "INSERT INTO password_reset_mail_window (address_key, request_id, user_id, at) VALUES ('k', 'counted', '1', ?)",
        arguments: [clock.now.milliseconds])
      try db.execute(sql: "COMMIT")
    }
    #expect(try await allowance == .refused)
    #expect(try harness.count("SELECT count(*) FROM password_reset_mail_window WHERE request_id = 'counted'") == 1)
  }

  @Test func `locked by another program makes a request wait, then answers it`() async throws {
    let harness = harness
    try await harness.run { client in
      // A request waits for five seconds. On a machine that needs longer for these few steps, repeat them.
      for _ in 0..<10 where try await isAnsweredAfterLock(client, harness) { return }
      Issue.record("the steps took longer than a request waits, ten times in a row")
    }
  }

  /// Returns `false` if too much time passed for a result.
  private func isAnsweredAfterLock(_ client: any TestClientProtocol, _ harness: Harness) async throws -> Bool {
    let locked = try harness.openQueue()
    try locked.inDatabase { db in try db.execute(sql: "BEGIN IMMEDIATE") }
    let start = ContinuousClock.now
    let before = harness.statements.lines.count
    let answered = Recorder()
    async let reply = waiting(client, answered)
    #expect(try await client.get("/health/live").status == 200)
    try await eventually("the request to wait for the lock") {
      harness.statements.lines.dropFirst(before).contains { $0.hasPrefix("BEGIN IMMEDIATE") }
    }
    #expect(try await client.get("/health/ready").status == 200)
    let isWaiting = answered.lines.isEmpty
    try locked.inDatabase { db in try db.execute(sql: "ROLLBACK") }
    let status = try await reply
    guard ContinuousClock.now - start < .seconds(4) else { return false }
    #expect(isWaiting && status == 202)
    return true
  }
}
