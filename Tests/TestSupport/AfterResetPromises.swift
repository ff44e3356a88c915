import Credentials
public import Foundation
public import PasswordReset
public import Testing

/// A database with users, sessions and tokens in tables that are not Django's, and a store that runs `AFTER_RESET` on it.
public struct AfterResetSite: Sendable {
  /// The kinds of keys, with the types of the database.
  public enum Key: String, CaseIterable, Sendable {
    case integer, uuid, text

    var values: [String] {
      switch self {
      case .integer: ["7", "8"]
      case .uuid: ["0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"]
      case .text: ["o'brien", ":user_id"]
      }
    }
  }

  /// The names of types that databases have different names for.
  public struct Types: Sendable {
    public var uuid, flag, moment, localTime: String

    public init(uuid: String, flag: String, moment: String, localTime: String) {
      (self.uuid, self.flag, self.moment, self.localTime) = (uuid, flag, moment, localTime)
    }
  }

  public var key: Key
  private let types: Types
  /// Opens the store with a list of changes.
  private let openStore: @Sendable (UserTable) throws -> any Store
  /// Runs a statement of SQL, and returns its values, one per line.
  public let sql: @Sendable (String) throws -> String
  /// Makes each change of a table fail, or stops that.
  public let fail: @Sendable (_ table: String, _ isFailing: Bool) throws -> Void

  public init(
    key: Key, types: Types, open: @escaping @Sendable (UserTable) throws -> any Store, sql: @escaping @Sendable (String) throws -> String,
    fail: @escaping @Sendable (_ table: String, _ isFailing: Bool) throws -> Void
  ) {
    (self.key, self.types, openStore, self.sql, self.fail) = (key, types, open, sql, fail)
  }

  private var keyType: String {
    switch key {
    case .integer: "integer"
    case .uuid: types.uuid
    case .text: "varchar(40)"
    }
  }

  private func stored(_ id: String) -> String { types.uuid == "char(32)" && key == .uuid ? id.replacing("-", with: "") : id }

  /// Creates the tables. Each user has two sessions and a token with a child that refers to it.
  public func create() throws {
    _ = try sql(
      """
      CREATE TABLE members (
        id \(keyType) PRIMARY KEY, email varchar(99) NOT NULL, password varchar(200) NOT NULL, is_active \(types.flag) NOT NULL,
        session_nonce varchar(64), changed_at \(types.moment), changed_locally \(types.localTime), changed_on date, must_change \(types.flag),
        version integer, jti \(types.uuid), note varchar(40), "odd ""name" varchar(40))
      """)
    _ = try sql("CREATE TABLE session (id integer PRIMARY KEY, user_id \(keyType) NOT NULL)")
    _ = try sql("CREATE TABLE knox_authtoken (digest varchar(9) PRIMARY KEY, user_id \(keyType) NOT NULL)")
    _ = try sql(
      "CREATE TABLE child (id integer PRIMARY KEY, digest varchar(9) NOT NULL REFERENCES knox_authtoken (digest) DEFERRABLE INITIALLY DEFERRED)")
    for (index, id) in key.values.enumerated() {
      let id = stored(id).replacing("'", with: "''")
      _ = try sql("INSERT INTO members (id, email, password, is_active, must_change) VALUES ('\(id)', 'u\(index)@example.com', 'x', true, true)")
      for number in [1, 2] { _ = try sql("INSERT INTO session VALUES (\(index * 10 + number), '\(id)')") }
      _ = try sql("INSERT INTO knox_authtoken VALUES ('d\(index)', '\(id)')")
      _ = try sql("INSERT INTO child VALUES (\(index), 'd\(index)')")
    }
  }

  public func users(_ entries: [AfterReset.Entry], zone: TimeZone = .gmt) -> UserTable {
    let absent: [UserColumn: UserTable.Column] = [
      .username: .absent, .firstName: .absent, .lastName: .absent, .lastLogin: .absent, .isStaff: .absent, .isSuperuser: .absent,
      .dateJoined: .absent,
    ]
    return UserTable(name: "members", columns: absent, afterReset: AfterReset(entries, timeZone: zone))
  }

  public func open(_ entries: [AfterReset.Entry], zone: TimeZone = .gmt) throws -> any Store { try openStore(users(entries, zone: zone)) }

  /// The first user.
  func user(_ store: any Store) async throws -> User { try #require(try await store.user(id: UserID(key.values[0]))) }

  /// Returns a value of the first user's row.
  func value(_ column: String) throws -> String { try sql("SELECT \(column) FROM members WHERE email = 'u0@example.com'") }

  /// What the reset of the first user changes, in one text.
  func state() throws -> String {
    let counts = ["session", "knox_authtoken", "child"].map { "(SELECT count(*) FROM \($0))" }.joined(separator: " || ',' || ")
    return try sql("SELECT (SELECT password || ',' || coalesce(version, -1) FROM members WHERE email = 'u0@example.com') || ',' || \(counts)")
  }

  static let untouched = "x,-1,4,2,2"
  static let changed = "y,1,2,1,1"
  /// Entries of each kind, with a statement whose order matters only for constraints that are not deferred.
  public static let entries: [AfterReset.Entry] = [
    .preset(.knox), .set([AfterReset.Assignment(column: "version", value: .increment)]),
    .sql("DELETE FROM child WHERE digest NOT IN (SELECT digest FROM knox_authtoken WHERE user_id <> :user_id)"),
    .sql("DELETE FROM session /* ' :user_id */ WHERE user_id = :user_id -- :user_id"),
  ]
}

/// A promise about `AFTER_RESET`.
public struct AfterResetPromise: Sendable, CustomTestStringConvertible {
  public let testDescription: String
  public let check: @Sendable (AfterResetSite) async throws -> Void

  init(_ name: String, _ check: @escaping @Sendable (AfterResetSite) async throws -> Void) {
    testDescription = name
    self.check = check
  }
}

public let afterResetPromises: [AfterResetPromise] = [
  AfterResetPromise("ends what the entries name with the password, and records how many rows that was") { site in
    let store = try site.open(AfterResetSite.entries)
    let user = try await site.user(store)
    #expect(try await store.setPassword(passwordChange(of: user, to: "y"), at: start)?.count == 1)
    #expect(try site.state() == AfterResetSite.changed)
    let line = try #require(try await store.auditRows(AuditFilter(), limit: 10).first)
    #expect(line.event == "reset" && line.userID == user.id)
    let expected = #"{"after_reset":[{"preset":"knox","rows":1},{"rows":1,"set":["version"]},{"rows":1,"sql":3},{"rows":2,"sql":4}]}"#
    #expect(line.detail == expected)
    #expect(try site.sql("SELECT count(*) FROM session WHERE id > 10") == "2", "another user's sessions ended")
  },
  AfterResetPromise("changes nothing if any one of the entries fails, and everything afterwards") { site in
    let store = try site.open(AfterResetSite.entries)
    let user = try await site.user(store)
    for (table, entry) in [("knox_authtoken", "entry 1: "), ("child", "entry 3: "), ("session", "entry 4: ")] {
      try site.fail(table, true)
      let error = await #expect(throws: StoreError.self) { try await store.setPassword(passwordChange(of: user, to: "y"), at: start) }
      guard case .afterReset(let reason) = error else {
        Issue.record("\(String(describing: error))")
        return
      }
      #expect(reason.hasPrefix(entry))
      try site.fail(table, false)
      #expect(try site.state() == AfterResetSite.untouched)
      #expect(try await store.auditRows(AuditFilter(), limit: 10).isEmpty)
      #expect(try await store.outboxCounts().waiting == 0)
    }
    #expect(try await store.setPassword(passwordChange(of: user, to: "y"), at: start) != nil)
    #expect(try site.state() == AfterResetSite.changed)
  },
  AfterResetPromise("changes nothing if the entries together break a foreign key") { site in
    let store = try site.open([.preset(.knox)])
    let user = try await site.user(store)
    let error = await #expect(throws: StoreError.self) { try await store.setPassword(passwordChange(of: user, to: "y"), at: start) }
    if case .afterReset = error {} else { Issue.record("\(String(describing: error))") }
    #expect(try site.state() == AfterResetSite.untouched)
    _ = try site.sql("DELETE FROM child")
    #expect(try await store.setPassword(passwordChange(of: user, to: "y"), at: start) != nil)
  },
  AfterResetPromise("runs no entry if the account has changed") { site in
    let store = try site.open(AfterResetSite.entries)
    var user = try await site.user(store)
    user.password = "another"
    #expect(try await store.setPassword(passwordChange(of: user, to: "y"), at: start) == nil)
    #expect(try site.state() == AfterResetSite.untouched)
    #expect(try await store.auditRows(AuditFilter(), limit: 10).isEmpty)
  },
  AfterResetPromise("runs the entries once if fifty changes race") { site in
    let store = try site.open(AfterResetSite.entries)
    let user = try await site.user(store)
    let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
      for index in 0..<50 { group.addTask { try await store.setPassword(passwordChange(of: user, to: "y\(index)"), at: start) != nil } }
      return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
    #expect(wins == 1)
    #expect(try site.value("version") == "1")
    #expect(try await store.auditRows(AuditFilter(), limit: 10).count == 1)
  },
  AfterResetPromise("fails one change and not the others that arrive with it") { site in
    let only = AfterReset.Entry.sql("DELETE FROM session WHERE user_id = :user_id")
    let store = try site.open([only])
    let first = try await site.user(store)
    let second = try #require(try await store.user(id: UserID(site.key.values[1])))
    // A reference that is checked at once, to a session of the first user.
    _ = try site.sql("CREATE TABLE log (session_id integer NOT NULL REFERENCES session (id))")
    _ = try site.sql("INSERT INTO log VALUES (1)")
    let failing = Task { try await store.setPassword(passwordChange(of: first, to: "y"), at: start) }
    let working = Task { try await store.setPassword(passwordChange(of: second, to: "y"), at: start) }
    let request = Task { try await store.enqueue(.request("a@example.com"), audit: AuditRecord(.requested)) }
    await #expect(throws: StoreError.self) { try await failing.value }
    #expect(try await working.value != nil)
    _ = try await request.value
    #expect(try site.sql("SELECT count(*) FROM session") == "2")
  },
  AfterResetPromise("ends the same with a deactivation, but not with an activation") { site in
    let store = try site.open(AfterResetSite.entries)
    let id = try await site.user(store).id
    func update(_ isActive: Bool, runsAfterReset: Bool) async throws -> Bool {
      try await store.update(id, try #require(store.userMapping.assignments(isActive: isActive)), runsAfterReset: runsAfterReset)
    }
    #expect(try await update(true, runsAfterReset: false))
    #expect(try site.state() == AfterResetSite.untouched)
    try site.fail("session", true)
    await #expect(throws: StoreError.self) { try await update(false, runsAfterReset: true) }
    #expect(try await store.user(id: id)?.isActive == true)
    #expect(try site.state() == AfterResetSite.untouched)
    try site.fail("session", false)
    #expect(try await update(false, runsAfterReset: true))
    #expect(try await store.user(id: id)?.isActive == false)
    #expect(try site.state().hasSuffix(",1,2,1,1"))
  },
  AfterResetPromise("sets each kind of value") { site in
    let values: [(String, AfterReset.Value)] = [
      ("session_nonce", .randomText(12)), ("changed_at", .now), ("changed_locally", .now), ("changed_on", .now),
      ("must_change", .constant(.boolean(false))),
      ("version", .increment), ("jti", .uuid), ("note", .constant(.text("it's \"now\""))), ("odd \"name", .uuid),
    ]
    let entry = AfterReset.Entry.set(values.map { AfterReset.Assignment(column: $0, value: $1) })
    let store = try site.open([entry], zone: try #require(TimeZone(identifier: "Asia/Tokyo")))
    let user = try await site.user(store)
    _ = try site.sql("UPDATE members SET version = 41")
    // Late in the day, so that Tokyo has the next one.
    let time = Date(timeIntervalSince1970: 1_800_045_296.5)
    #expect(try await store.setPassword(passwordChange(of: user, to: "y"), at: time) != nil)
    let nonce = try site.value("session_nonce")
    #expect(nonce.wholeMatch(of: /[A-Za-z0-9_-]{12}/) != nil, "\(nonce)")
    #expect(try site.value("changed_locally").hasPrefix("2027-01-16 05:34:56.5"))
    #expect(try site.value("changed_on") == "2027-01-16")
    #expect(["0", "f"].contains(try site.value("must_change")))
    #expect(try site.value("version") == "42")
    #expect(try site.value("jti").wholeMatch(of: /[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}/) != nil)
    #expect(try site.value("\"odd \"\"name\"").wholeMatch(of: /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/) != nil)
    #expect(try site.value("note") == "it's \"now\"")
    let other = try site.sql("SELECT count(*) FROM members WHERE session_nonce IS NULL AND version = 41")
    #expect(other == "1", "another user's row was changed")
    #expect(try await store.setPassword(passwordChange(of: try await site.user(store), to: "z"), at: time) != nil)
    #expect(try site.value("session_nonce") != nonce)
  },
]

/// Entries that do not fit the tables of ``AfterResetSite``, each with a part of the message.
public let unusableAfterResetEntries: [(entry: AfterReset.Entry, message: String)] =
  unusablePresets + unusableStatements.map { (.sql($0.sql), $0.message) }
  + unusableValues.map { (.set([AfterReset.Assignment(column: $0.column, value: $0.value)]), $0.message) }

private let unusablePresets: [(entry: AfterReset.Entry, message: String)] = [
  (.preset(.drfTokens), "drf_tokens needs the table authtoken_token"),
  (.preset(.allauthSessions), "allauth_sessions needs the table django_session"),
  (.preset(.deviseRememberable), "no column remember_created_at; its columns are id, email"),
]

private let unusableStatements: [(sql: String, message: String)] = [
  ("DELETE FROM missing WHERE user_id = :user_id", "missing"),
  ("DELETE FROM session WHERE absent = :user_id", "absent"),
  ("DELETE FROM session WHERE user_id = :user_id; DELETE FROM child", "refuses the statement"),
  ("DELETE FROM session WHERE user_id = ':user_id'", "only in a literal or a comment"),
  ("DELETE FROM session WHERE user_id = :user_id AND id = :other", "the parameter :other; the only parameters are :user_id and :now"),
  ("DELETE FORM session WHERE user_id = :user_id", "refuses the statement"),
]

private let unusableValues: [(column: String, value: AfterReset.Value, message: String)] = [
  ("missing", .constant(.null), "no column missing"), ("id", .uuid, "must stay the same"),
  ("password", .constant(.text("")), "reset itself sets"), ("version", .randomText(12), "random:12 needs a column with text"),
  ("version", .now, "now needs a column with a time"), ("must_change", .now, "now needs a column with a time"),
  ("changed_at", .increment, "increment needs a column with a whole number"), ("changed_on", .uuid, "uuid needs a column with a UUID or text"),
]
