import Credentials
import Foundation
import PasswordReset
import PostgresStore
import TestSupport
import Testing

/// What the ports cannot express: other programs in the database, damaged rows, lost connections.
@Suite struct `A PostgreSQL database` {
  private let url: String

  init() throws { url = try PostgresCluster.newDatabase() }

  private func open(loginZone: String = "UTC") throws -> PostgresStore {
    let store = try PostgresStore(PostgresAddress(url: url), loginZone: loginZone)
    try store.migrate()
    return store
  }

  @discardableResult private func sql(_ statements: String) throws -> String { try PostgresCluster.sql(statements, url: url) }

  private func add(_ names: String..., to store: PostgresStore) async throws {
    for name in names { _ = try await store.addUser(username: name, email: "\(name)@example.com", password: "x", at: Date()) }
  }

  private func change(of user: User, to hash: String) -> PasswordChange {
    let notice = NewJob(.changedNotice(userID: user.id, recipient: user.email), locale: nil, requestID: "r", createdAt: Date(), due: Date())
    return PasswordChange(user: user, newHash: hash, event: .reset, requestID: "r", jobs: [notice])
  }

  // MARK: - The schema

  @Test func `is left as it is by a second migration, and by eight at once`() async throws {
    let url = url
    try await withThrowingTaskGroup { group in
      for _ in 0..<8 { group.addTask { try PostgresStore(PostgresAddress(url: url)).migrate() } }
      try await group.waitForAll()
    }
    let schema = "SELECT string_agg(relname || ' ' || relkind::text, ',' ORDER BY relname) FROM pg_class WHERE relname !~ '^pg_' AND oid > 16000"
    let before = try sql(schema)
    _ = try open()
    #expect(try sql(schema) == before)
    #expect(before.contains("password_reset_auth_user_email i"))
    #expect(try sql("SELECT max(number) FROM password_reset.migrations") == "2")
  }

  @Test func `of a newer release is refused`() throws {
    _ = try open()
    try sql("INSERT INTO password_reset.migrations (number, name) VALUES (99, 'future')")
    let error = #expect(throws: StoreOpenError.self) { try open() }
    #expect(error?.kind == .newerSchema)
  }

  @Test(arguments: [
    ("CREATE TABLE auth_user (id integer PRIMARY KEY, username text, email text)", "password"),
    ("CREATE TABLE django_migrations (id integer)", "django_migrations"),
    ("CREATE SCHEMA site; CREATE TABLE site.people (password text, last_login timestamptz)", "people"),
    ("CREATE VIEW auth_user AS SELECT 1 AS id", "ordinary table"),
  ])
  func `of a site without Django's users table is refused, and left as it is`(_ statements: String, _ part: String) throws {
    try sql(statements)
    let error = #expect(throws: StoreOpenError.self) { try open() }
    #expect(error?.kind == .foreignUserTable && error?.description.contains(part) == true)
    #expect(try sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'password_reset'") == "0", "the database was changed")
  }

  @Test func `gets the next key after one that was chosen, as Django expects`() async throws {
    let store = try open()
    let row = UserRow(id: 100, username: "a", email: "", password: "x", dateJoined: DjangoTime.text(of: Date()))
    #expect(try await store.add([row]) == [.added(id: 100)])
    try sql("INSERT INTO auth_user SELECT nextval('auth_user_id_seq'), 'x', NULL, false, 'b', '', '', '', false, true, now()")
    #expect(try await store.userRow(username: "b")?.id == 101)
  }

  // MARK: - Users

  @Test(arguments: ["infinity", "-infinity", "10000-01-01 00:00+00", "0044-03-15 00:00+00 BC"])
  func `with a time that Django cannot read works for the other users, and that one gets nothing`(_ time: String) async throws {
    let store = try open()
    try await add("a", "b", to: store)
    try sql("UPDATE auth_user SET last_login = '\(time)' WHERE username = 'a'")
    #expect(try await store.user(id: 1) == nil)
    #expect(try await store.users(matching: .email("a@example.com")) == [])
    #expect(try await store.damagedUser(matching: .email("A@example.com")) == 1)
    #expect(try await store.damagedUser(matching: .username("a")) == 1)
    #expect(try await store.users(matching: .username("b")).count == 1)
    let page = try await store.userPage(after: nil, limit: 10)
    #expect(page.damaged == [1] && page.rows.map(\.username) == ["b"])
    #expect(try PostgresDatabase(PostgresAddress(url: url)).inspect(isThorough: true).damagedUsers == 1)
  }

  @Test(arguments: [("UTC", "2026-07-01 22:30:05"), ("Europe/Berlin", "2026-07-02 00:30:05")])
  func `gives a last login in the zone in which Django prints it, and accepts it for a new password`(_ zone: String, _ text: String) async throws {
    let store = try open(loginZone: zone)
    try await add("a", to: store)
    try sql("UPDATE auth_user SET last_login = '2026-07-01 22:30:05.999999+00'")
    let user = try #require(try await store.user(id: 1))
    #expect(user.lastLogin == text)
    #expect(try await store.userRow(username: "a")?.lastLogin == "2026-07-01 22:30:05.999999")
    try sql("UPDATE auth_user SET last_login = '2026-07-01 22:30:06+00'")
    #expect(try await store.setPassword(change(of: user, to: "y"), at: Date()) == nil)
    try sql("UPDATE auth_user SET last_login = '2026-07-01 22:30:05.1+00'")
    #expect(try await store.setPassword(change(of: user, to: "y"), at: Date())?.count == 1)
  }

  @Test func `has no text with NUL, so a search for one finds nothing`() async throws {
    let store = try open()
    try await add("a", to: store)
    for identifier in [AccountIdentifier.email("a@example.com\0"), .username("a\0")] {
      #expect(try await store.users(matching: identifier) == [])
      #expect(try await store.damagedUser(matching: identifier) == nil)
    }
    #expect(try await store.userRow(username: "a\0b") == nil)
    #expect(try await store.userPage(.containing("a\0"), after: nil, limit: 5).rows == [])
    await #expect(throws: StoreError.self) { try await store.enqueue(.request("a\0@example.com"), audit: AuditRecord(.requested)) }
  }

  @Test func `finds no user for a key that no user has, next to which there are users`() async throws {
    let store = try open()
    let others = [Int64.min, -1, 0, 1, 6, 8, .max].map { UserID($0) }
    for id in others { #expect(try await store.user(id: id) == nil, "\(id) of none") }
    try await add("a", "b", to: store)
    try sql("UPDATE auth_user SET id = id + 4 + (id > 1)::integer")
    for id in others { #expect(try await store.user(id: id) == nil, "\(id)") }
    #expect(try await store.user(id: 5)?.username == "a")
    #expect(try await store.user(id: 7)?.username == "b")
  }

  @Test func `is used in the schema in which the site's own statements find the table`() async throws {
    try sql("CREATE SCHEMA site; CREATE TABLE public.auth_user (id integer)")
    let store = try PostgresStore(PostgresAddress(url: url + "&options=-csearch_path%3Dsite"))
    try store.migrate()
    try await add("a", to: store)
    #expect(try sql("SELECT username FROM site.auth_user") == "a")
  }

  @Test func `changes a password with its audit record and its notice, or not at all`() async throws {
    let store = try open()
    try await add("a", to: store)
    let user = try #require(try await store.user(id: 1))
    try sql("CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fault'; END $$")
    for table in ["audit", "outbox"] {
      for timing in ["TRIGGER fault BEFORE INSERT", "CONSTRAINT TRIGGER fault AFTER INSERT"] {
        let deferral = timing.hasPrefix("CONSTRAINT") ? "DEFERRABLE INITIALLY DEFERRED" : ""
        try sql("CREATE \(timing) ON password_reset.\(table) \(deferral) FOR EACH ROW EXECUTE FUNCTION fault()")
        await #expect(throws: StoreError.self, "\(timing)") { try await store.setPassword(change(of: user, to: "y"), at: Date()) }
        try sql("DROP TRIGGER fault ON password_reset.\(table)")
        #expect(try sql("SELECT password FROM auth_user") == "x")
        #expect(try sql("SELECT (SELECT count(*) FROM password_reset.audit) + (SELECT count(*) FROM password_reset.outbox)") == "0")
      }
    }
    #expect(try await store.setPassword(change(of: user, to: "y"), at: Date())?.count == 1)
    #expect(try await store.setPassword(change(of: user, to: "z"), at: Date()) == nil)
    #expect(try sql("SELECT password FROM auth_user") == "y")
  }

  // MARK: - The outbox

  @Test func `dead-letters a damaged job and goes on with the others`() async throws {
    let store = try open()
    let now = Date()
    for index in 0..<3 { _ = try await store.enqueue(.request("a\(index)@example.com", at: now), audit: AuditRecord(.requested)) }
    try sql("UPDATE password_reset.outbox SET kind = 'nonsense' WHERE id = 2")
    let jobs = try await store.claim(.email, limit: 5, owner: "a", at: now, leaseEnd: now.addingTimeInterval(60))
    #expect(jobs.map(\.id) == [1, 3])
    #expect(try await store.outboxRows(after: nil, limit: 5, deadLettersOnly: true).map(\.id) == [2])
  }

  @Test func `fails a bad write without those that it was sent together with`() async throws {
    let store = try open()
    try sql(
      """
      CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.request_id = 'r13' THEN RAISE EXCEPTION 'fault'; END IF; RETURN NEW; END $$;
      CREATE TRIGGER fault BEFORE INSERT ON password_reset.outbox FOR EACH ROW EXECUTE FUNCTION fault()
      """)
    let failed = await withTaskGroup(of: String?.self) { group in
      for index in 0..<50 {
        group.addTask {
          do {
            _ = try await store.enqueue(.request(requestID: "r\(index)"), audit: AuditRecord(.requested))
            return nil
          } catch { return "r\(index)" }
        }
      }
      return await group.reduce(into: [String]()) { if let id = $1 { $0.append(id) } }
    }
    #expect(failed == ["r13"])
    #expect(try sql("SELECT (SELECT count(*) FROM password_reset.outbox), (SELECT count(*) FROM password_reset.audit)") == "49|49")
  }

  @Test func `divides jobs among instances, each job to one of them`() async throws {
    let stores = [try open(), try open()]
    let now = Date()
    for index in 0..<200 { _ = try await stores[index % 2].enqueue(.request(at: now), audit: AuditRecord(.requested)) }
    let claimed = try await withThrowingTaskGroup(of: [Int64].self) { group in
      for index in 0..<40 {
        group.addTask {
          try await stores[index % 2].claim(.email, limit: 10, owner: "owner\(index)", at: now, leaseEnd: now.addingTimeInterval(60)).map(\.id)
        }
      }
      return try await group.reduce([], +)
    }
    #expect(claimed.count == Set(claimed).count && claimed.count == 200)
  }

  @Test(arguments: [true, false]) func `counts emails against a limit over all instances`(isOfAll: Bool) async throws {
    let stores = [try open(), try open()]
    let limit = [RateLimit(count: 5, seconds: 600)]
    let granted = try await withThrowingTaskGroup(of: Bool.self) { group in
      for index in 0..<30 {
        group.addTask {
          let email = EmailReservation(
            addressKey: isOfAll ? "k\(index)" : "k", requestID: "r\(index)", userID: 1, limits: isOfAll ? [] : limit,
            totalLimits: isOfAll ? limit : [])
          return try await stores[index % 2].reserve(email) { Date() } == .granted
        }
      }
      return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
    #expect(granted == 5)
  }

  // MARK: - The server

  @Test func `is used again when the server has closed all connections`() async throws {
    let store = try open()
    try await add("a", to: store)
    for _ in 0..<5 {
      try sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
      _ = try await store.enqueue(.request(), audit: AuditRecord(.requested))
      for _ in 0..<8 { #expect(try await store.user(id: 1) != nil) }
      try await store.checkReadiness()
    }
    #expect(try sql("SELECT count(*) FROM password_reset.outbox") == "5")
  }

  @Test func `is used again when a migration of the site has changed the users table`() async throws {
    let store = try open()
    try await add("a", to: store)
    for type in ["varchar(100)", "text", "varchar(150)"] {
      #expect(try await store.user(id: 1)?.username == "a")
      let user = try #require(try await store.users(matching: .email("a@example.com")).first)
      try sql("ALTER TABLE auth_user ALTER first_name TYPE \(type), ALTER email TYPE \(type), ALTER password TYPE \(type)")
      #expect(try await store.user(id: 1)?.username == "a")
      #expect(try await store.setPassword(change(of: user, to: "y\(type)"), at: Date()) != nil)
    }
  }

  @Test func `commits durably and reads what is committed under any settings of the database`() async throws {
    try sql(
      """
      ALTER DATABASE \(url.split(separator: "?")[0].split(separator: "/").last ?? "") SET synchronous_commit = off;
      ALTER DATABASE \(url.split(separator: "?")[0].split(separator: "/").last ?? "") SET default_transaction_isolation = 'serializable'
      """)
    let store = try open()
    try sql(
      """
      CREATE TABLE seen (commit text, isolation text);
      CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO seen VALUES (current_setting('synchronous_commit'), current_setting('transaction_isolation')); RETURN NEW; END $$;
      CREATE TRIGGER look BEFORE INSERT ON password_reset.outbox FOR EACH ROW EXECUTE FUNCTION look()
      """)
    _ = try await store.enqueue(.request(), audit: AuditRecord(.requested))
    #expect(try sql("SELECT * FROM seen") == "on|read committed")
  }

  @Test func `that is read-only is not ready, until it is not`() async throws {
    let name = url.split(separator: "?")[0].split(separator: "/").last ?? ""
    _ = try open()
    try sql("ALTER DATABASE \(name) SET default_transaction_read_only = on")
    let store = try open()
    await #expect(throws: StoreError.self) { try await store.checkReadiness() }
    await #expect(throws: StoreError.self) { try await store.enqueue(.request(), audit: AuditRecord(.requested)) }
    let risks = try PostgresDatabase(PostgresAddress(url: url)).inspect(isThorough: false).risks
    #expect(risks.contains { $0.kind == .readOnly })
    try sql("BEGIN READ WRITE; ALTER DATABASE \(name) RESET default_transaction_read_only; COMMIT")
    try sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    _ = try await store.enqueue(.request(), audit: AuditRecord(.requested))
    try await store.checkReadiness()
  }

  @Test func `whose disk was full is ready only when a probe could write`() async throws {
    let seen = Recorder()
    let store = try PostgresStore(PostgresAddress(url: url)) { seen.add($0) }
    try store.migrate()
    func isProbeWritten() -> Bool { seen.lines.contains { $0.contains("pg_logical_emit_message") } }
    try sql(
      """
      CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$;
      CREATE TRIGGER full_disk BEFORE INSERT ON password_reset.outbox FOR EACH ROW EXECUTE FUNCTION full_disk()
      """)
    try await store.checkReadiness()
    #expect(!isProbeWritten())
    await #expect(throws: StoreError.self) { try await store.enqueue(.request(), audit: AuditRecord(.requested)) }
    try await store.checkReadiness()
    #expect(isProbeWritten())
  }

  @Test func `without an index for addresses is reported with the statement that creates it`() throws {
    _ = try open()
    try sql("DROP INDEX password_reset_auth_user_email")
    let database = PostgresDatabase(PostgresAddress(url: url))
    let risk = try #require(try database.inspect(isThorough: false).risks.first { $0.kind == .missingEmailIndex })
    let statement = try #require(risk.hint.firstMatch(of: /CREATE INDEX .*;/)).output
    try sql(String(statement))
    #expect(try database.inspect(isThorough: false).risks.contains { $0.kind == .missingEmailIndex } == false)
  }

  @Test(arguments: [
    ("postgresql://127.0.0.1:1/none", StoreOpenError.Kind.unreachable, "listen_addresses"),
    ("postgresql:///none?host=/nonexistent", .unreachable, "unix_socket_directories"),
    ("postgresql://canary-0123.invalid/none", .unreachable, "Check the host"),
    ("postgresql://u:canary@127.0.0.1:port/none", .unusable, "the port is not a number"),
    ("postgresql://u:can@ary@127.0.0.1/none", .unusable, "%40"),
    ("postgresql://u@127.0.0.1/none?sslmode=canary", .unusable, "Correct DATABASE_URL"),
    ("postgresql:///none?service=nowhere-to-be-found", .unusable, "service"),
  ])
  func `that cannot be reached is refused with the cause and the remedy, and without the password`(
    _ url: String, _ kind: StoreOpenError.Kind, _ remedy: String
  ) throws {
    let error = #expect(throws: StoreOpenError.self) { try PostgresStore(PostgresAddress(url: url, password: "secret-canary-password")) }
    #expect(error?.kind == kind && error?.description.contains(remedy) == true, "\(error?.description ?? "")")
    #expect(error?.description.contains("canary@") == false && error?.description.contains("secret-canary") == false)
  }

  @Test func `that does not exist is refused`() throws {
    let other = url.replacing(/test[0-9]+/, with: "missing")
    let error = #expect(throws: StoreOpenError.self) { try PostgresStore(PostgresAddress(url: other)) }
    let remedy = "FATAL: database \"missing\" does not exist. Create the database"
    #expect(error?.kind == .unusable && error?.description.contains(remedy) == true, "\(error?.description ?? "")")
  }
}
