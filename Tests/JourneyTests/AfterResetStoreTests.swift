import Foundation
import GRDB
import PasswordReset
import PostgresStore
import SQLiteStore
import TestSupport
import Testing

@testable import App

/// Runs the promises about `AFTER_RESET` on the SQLite store.
@Suite struct `AFTER_RESET on SQLite` {
  private let harness: Harness

  init() throws { harness = try Harness() }

  private func site(_ key: AfterResetSite.Key = .integer) throws -> AfterResetSite {
    let site = AfterResetSite(
      key: key, types: .init(uuid: "char(32)", flag: "bool", moment: "datetime", localTime: "datetime"),
      open: { [harness] users in
        let store = try SQLiteStore(path: harness.path, users: users)
        try store.migrate()
        return store
      },
      sql: { [harness] statement in
        try harness.sql { db in
          try Row.fetchAll(db, sql: statement).map { $0.databaseValues.map { "\($0.storage.value ?? "")" }.joined(separator: "|") }.joined(
            separator: "\n")
        }
      },
      fail: { [harness] table, isFailing in
        try harness.execute(
          isFailing
            ? "CREATE TRIGGER fault BEFORE DELETE ON \(table) BEGIN SELECT RAISE(ABORT, 'fault'); END" : "DROP TRIGGER fault")
      })
    try site.create()
    return site
  }

  @Test(arguments: AfterResetSite.Key.allCases, afterResetPromises)
  func `keeps its promises`(_ key: AfterResetSite.Key, _ promise: AfterResetPromise) async throws { try await promise.check(site(key)) }

  @Test(arguments: unusableAfterResetEntries.indices) func `with an entry that does not fit refuses the start and leaves nothing behind`(_ index: Int)
    throws
  {
    let site = try site()
    let (entry, message) = unusableAfterResetEntries[index]
    let schema = try site.sql("SELECT group_concat(sql) FROM sqlite_master")
    let error = #expect(throws: StoreOpenError.self) { try site.open([.preset(.knox), entry]) }
    #expect(error?.kind == .unusableAfterReset)
    #expect(error?.description.contains("entry 2: ") == true && error?.description.contains(message) == true, "\(error?.description ?? "")")
    #expect(try site.sql("SELECT group_concat(sql) FROM sqlite_master") == schema)
    let inspection = #expect(throws: StoreOpenError.self) {
      try SQLiteDatabase(path: harness.path, users: site.users([.preset(.knox), entry])).inspect(isThorough: false)
    }
    #expect(inspection?.description == error?.description)
  }

  @Test func `is tried for a user before the start, and rolled back`() async throws {
    let site = try site()
    let users = site.users([.preset(.knox)])
    try SQLiteDatabase(path: harness.path, users: site.users(AfterResetSite.entries)).tryPasswordChange(to: "y")
    let error = #expect(throws: StoreOpenError.self) { try SQLiteDatabase(path: harness.path, users: users).tryPasswordChange(to: "y") }
    #expect(error?.kind == .failingAfterReset && error?.description.contains("foreign key") == true)
    try site.fail("session", true)
    try SQLiteDatabase(path: harness.path, users: site.users([])).tryPasswordChange(to: "y")
    let failing = #expect(throws: StoreOpenError.self) {
      try SQLiteDatabase(path: harness.path, users: site.users([.sql("DELETE FROM session WHERE user_id = :user_id")])).tryPasswordChange(to: "y")
    }
    #expect(failing?.description.contains("entry 1: ") == true && failing?.description.contains("which a trigger of the site raised") == true)
    try site.fail("session", false)
    #expect(try site.sql("SELECT count(*) FROM knox_authtoken") == "2" && site.sql("SELECT count(*) FROM session") == "4")
  }

  @Test func `interrupts a statement that does not end, and then serves others`() async throws {
    let site = try site()
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) DELETE FROM session WHERE user_id = :user_id AND id IN n"
    let store = try site.open([.sql(endless)])
    let user = try #require(try await store.user(id: 7))
    let change = PasswordChange(user: user, newHash: "y", event: .reset, requestID: "r", jobs: [])
    let error = await #expect(throws: StoreError.self) { try await store.setPassword(change, at: Date()) }
    #expect(error?.description.contains("entry 1: it did not end within") == true)
    #expect(try site.sql("SELECT count(*) FROM members WHERE password = 'x'") == "2")
    _ = try await store.enqueue(.request("a@example.com"), audit: AuditRecord(.requested))
  }
}

/// Runs the promises about `AFTER_RESET` on the PostgreSQL store.
@Suite struct `AFTER_RESET on PostgreSQL` {
  private let url: String

  init() throws { url = try PostgresCluster.newDatabase() }

  private func site(_ key: AfterResetSite.Key = .integer) throws -> AfterResetSite {
    try PostgresCluster.sql("CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fault'; END $$", url: url)
    let site = AfterResetSite(
      key: key, types: .init(uuid: "uuid", flag: "boolean", moment: "timestamptz", localTime: "timestamp"),
      open: { [url] users in
        let store = try PostgresStore(PostgresAddress(url: url), users: users)
        try store.migrate()
        return store
      },
      sql: { [url] statement in try PostgresCluster.sql(statement, url: url) },
      fail: { [url] table, isFailing in
        try PostgresCluster.sql(
          isFailing
            ? "CREATE TRIGGER fault BEFORE DELETE ON \(table) FOR EACH ROW EXECUTE FUNCTION fault()" : "DROP TRIGGER fault ON \(table)", url: url)
      })
    try site.create()
    return site
  }

  private func database(_ users: UserTable) -> PostgresDatabase { PostgresDatabase(PostgresAddress(url: url), users: users) }

  @Test(arguments: AfterResetSite.Key.allCases, afterResetPromises)
  func `keeps its promises`(_ key: AfterResetSite.Key, _ promise: AfterResetPromise) async throws { try await promise.check(site(key)) }

  @Test(arguments: unusableAfterResetEntries.indices) func `with an entry that does not fit refuses the start and leaves nothing behind`(_ index: Int)
    throws
  {
    let site = try site()
    let (entry, message) = unusableAfterResetEntries[index]
    let error = #expect(throws: StoreOpenError.self) { try site.open([.preset(.knox), entry]) }
    #expect(error?.kind == .unusableAfterReset)
    #expect(error?.description.contains("entry 2: ") == true && error?.description.contains(message) == true, "\(error?.description ?? "")")
    #expect(try site.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'password_reset'") == "0")
    let inspection = #expect(throws: StoreOpenError.self) { try database(site.users([.preset(.knox), entry])).inspect(isThorough: false) }
    #expect(inspection?.description == error?.description)
  }

  @Test(arguments: [
    #"DELETE FROM session WHERE user_id = :user_id::integer AND note <> E'\' :user_id' AND "a:user_id" IS NULL"#,
    "DELETE FROM session WHERE note = $$ ':user_id $$ OR note = $x$ $$:other $x$ OR user_id = :user_id",
    "DELETE FROM session /* /* :other */ ' */ WHERE user_id = :user_id AND id = ANY ((ARRAY[1, 2])[1 : 2]) -- :other",
    "DELETE FROM session WHERE note = 'it''s :other' AND user_id=:user_id",
    "UPDATE session SET note = to_char(:now, 'HH24:MI:user_id') WHERE user_id = :user_id AND :user_id > 0",
    "SELECT pg_notify('left', :user_id::text)", "\n-- x\nDELETE FROM session WHERE user_id = :user_id;",
  ]) func `finds its parameter outside of literals and comments`(_ statement: String) async throws {
    let site = try site()
    _ = try site.sql(#"ALTER TABLE session ADD note text, ADD "a:user_id" text"#)
    let store = try site.open([.sql(statement)])
    let user = try #require(try await store.user(id: 7))
    let change = PasswordChange(user: user, newHash: "y", event: .reset, requestID: "r", jobs: [])
    #expect(try await store.setPassword(change, at: Date()) != nil)
    #expect(try site.sql("SELECT count(*) FROM session WHERE id > 10 AND note IS NULL") == "2", "another user's sessions were changed")
  }

  @Test func `refuses numbered parameters`() throws {
    let site = try site()
    let error = #expect(throws: StoreOpenError.self) { try site.open([.sql("DELETE FROM session WHERE user_id = $1 -- :user_id")]) }
    #expect(error?.description.contains("a parameter with $") == true)
  }

  @Test func `waits for a lock of the site no longer than for a statement`() async throws {
    let site = try site()
    let store = try site.open([.sql("DELETE FROM session WHERE user_id = :user_id")])
    let user = try #require(try await store.user(id: 7))
    let change = PasswordChange(user: user, newHash: "y", event: .reset, requestID: "r", jobs: [])
    // The trigger waits longer than any statement may.
    _ = try site.sql(
      """
      CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3600); RETURN OLD; END $$;
      CREATE TRIGGER wait BEFORE DELETE ON session FOR EACH ROW EXECUTE FUNCTION wait()
      """)
    let error = await #expect(throws: StoreError.self) { try await store.setPassword(change, at: Date()) }
    #expect(error?.description.contains("entry 1: PostgreSQL error 57014") == true, "\(String(describing: error))")
    _ = try site.sql("DROP TRIGGER wait ON session")
    #expect(try await store.setPassword(change, at: Date()) != nil)
  }

  @Test func `has a limit of time for all entries together, and names the one that exceeds it`() async throws {
    let site = try site()
    // Neither exceeds the limit alone.
    let store = try site.open([.sql("SELECT pg_sleep(3), :user_id"), .sql("SELECT pg_sleep(4.5), :user_id")])
    let user = try #require(try await store.user(id: 7))
    let change = PasswordChange(user: user, newHash: "y", event: .reset, requestID: "r", jobs: [])
    let error = await #expect(throws: StoreError.self) { try await store.setPassword(change, at: Date()) }
    #expect(error?.description.contains("entry 2: PostgreSQL error 57014") == true, "\(String(describing: error))")
    #expect(try site.sql("SELECT count(*) FROM members WHERE password = 'x'") == "2")
  }

  @Test func `names an entry that fails like a statement of another session`() async throws {
    let site = try site()
    let store = try site.open([.sql("DELETE FROM session WHERE user_id = :user_id")])
    let user = try #require(try await store.user(id: 7))
    let change = PasswordChange(user: user, newHash: "y", event: .reset, requestID: "r", jobs: [])
    _ = try site.sql(
      """
      CREATE FUNCTION unsupported() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE feature_not_supported; END $$;
      CREATE TRIGGER unsupported BEFORE DELETE ON session FOR EACH ROW EXECUTE FUNCTION unsupported()
      """)
    let error = await #expect(throws: StoreError.self) { try await store.setPassword(change, at: Date()) }
    #expect(error?.description.contains("entry 1: PostgreSQL error 0A000") == true, "\(String(describing: error))")
    _ = try site.sql("DROP TRIGGER unsupported ON session")
    #expect(try await store.setPassword(change, at: Date()) != nil)
  }

  @Test func `is run again after it has lost against another transaction`() async throws {
    let site = try site()
    let store = try site.open([.sql("DELETE FROM session WHERE user_id = :user_id"), .set([.init(column: "version", value: .increment)])])
    let user = try #require(try await store.user(id: 7))
    // A sequence keeps its value when the transaction is rolled back.
    _ = try site.sql(
      """
      CREATE SEQUENCE attempts;
      CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('attempts') < 3 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '40P01'; END IF; RETURN OLD; END $$;
      CREATE TRIGGER lose BEFORE DELETE ON session FOR EACH STATEMENT EXECUTE FUNCTION lose()
      """)
    let change = PasswordChange(user: user, newHash: "y", event: .reset, requestID: "r", jobs: [])
    #expect(try await store.setPassword(change, at: Date()) != nil)
    #expect(try site.sql("SELECT version FROM members WHERE id = 7") == "1" && site.sql("SELECT last_value FROM attempts") == "3")
    #expect(try site.sql("SELECT count(*) FROM password_reset.audit") == "1")
  }

  @Test func `is tried for a user before the start, and rolled back`() async throws {
    let site = try site()
    try database(site.users(AfterResetSite.entries)).tryPasswordChange(to: "y")
    let error = #expect(throws: StoreOpenError.self) { try database(site.users([.preset(.knox)])).tryPasswordChange(to: "y") }
    #expect(error?.kind == .failingAfterReset && error?.description.contains("foreign key") == true, "\(String(describing: error))")
    try site.fail("session", true)
    let failing = #expect(throws: StoreOpenError.self) {
      try database(site.users([.sql("DELETE FROM session WHERE user_id = :user_id")])).tryPasswordChange(to: "y")
    }
    #expect(failing?.description.contains("entry 1: ") == true, "\(String(describing: failing))")
    #expect(try site.sql("SELECT count(*) FROM knox_authtoken") == "2" && site.sql("SELECT count(*) FROM session") == "4")
  }

  @Test func `finds the tables of presets next to the users table, and otherwise on the search path`() async throws {
    let site = try site()
    _ = try site.sql("CREATE SCHEMA site; ALTER TABLE members SET SCHEMA site; CREATE TABLE site.knox_authtoken (digest text, user_id integer)")
    _ = try site.sql("INSERT INTO site.knox_authtoken VALUES ('a', 7); CREATE TABLE authtoken_token (key text, user_id integer)")
    _ = try site.sql("INSERT INTO authtoken_token VALUES ('a', 7)")
    var users = site.users([.preset(.knox), .preset(.drfTokens)])
    users.name = "site.members"
    let store = try PostgresStore(PostgresAddress(url: url), users: users)
    try store.migrate()
    let user = try #require(try await store.user(id: 7))
    let change = PasswordChange(user: user, newHash: "y", event: .reset, requestID: "r", jobs: [])
    #expect(try await store.setPassword(change, at: Date()) != nil)
    #expect(try site.sql("SELECT count(*) FROM knox_authtoken") == "2" && site.sql("SELECT count(*) FROM site.knox_authtoken") == "0")
    #expect(try site.sql("SELECT count(*) FROM authtoken_token") == "0")
  }
}
