import Credentials
import Foundation
import HummingbirdTesting
import PasswordReset
import PostgresStore
import SQLiteStore
import Synchronization
import Testing

@testable import App

/// The rule against former passwords, through the routes.
@Suite struct `Former passwords` {
  /// The databases in which the service keeps them.
  enum Database: String, CaseIterable, Sendable {
    case sqlite, postgreSQL
  }

  private static let rules = #"[{"NAME": "MinimumLengthValidator"}, {"NAME": "PasswordHistoryValidator"}]"#

  private let harness: Harness

  init() throws { harness = try Harness() }

  /// Returns the settings for a new database.
  private func environment(_ database: Database, rules: String = Self.rules) throws -> [String: String] {
    let url = try database == .sqlite ? "sqlite:\(harness.path)" : PostgresCluster.newDatabase()
    return ["AUTH_PASSWORD_VALIDATORS": rules, "DATABASE_URL": url]
  }

  private func store(_ environment: [String: String]) throws -> any Store {
    let url = environment["DATABASE_URL"] ?? ""
    return try url.hasPrefix("sqlite:") ? SQLiteStore(path: harness.path) : PostgresStore(PostgresAddress(url: url))
  }

  private func addUser(_ environment: [String: String]) async throws -> UserID {
    let store = try store(environment)
    let encoded = try harness.hasher.encode(Harness.oldPassword)
    return try #require(await store.addUser(username: "alice", email: "alice@example.com", password: encoded, at: Date()))
  }

  /// Requests a link and sets a password by it. Returns the link.
  @discardableResult
  private func reset(to password: String, _ client: any TestClientProtocol) async throws -> String {
    let count = harness.mails.sent.count { $0.resetURL != nil }
    #expect(try await client.requestReset(email: "alice@example.com").status == 202)
    let link = try await harness.link(count: count + 1)
    #expect(try await client.setPassword(link, password).status == 200, "\(password)")
    return link
  }

  @Test(arguments: Database.allCases) func `cannot be used again until four others were used, and the link stays usable`(_ database: Database)
    async throws
  {
    let environment = try environment(database)
    try await harness.run(environment) { client in
      let id = try await addUser(environment)
      for number in 1...3 { try await reset(to: "a-Fine-pass-\(number)", client) }
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link(count: 4)
      #expect(
        try await client.get(link).json["password_rules"] as? [String] == [
          "Your password must contain at least 8 characters.", "Your password must contain at most 1024 characters.",
          "Your password can’t be one of your last 4 passwords.",
        ])
      for password in [Harness.oldPassword, "a-Fine-pass-1", "a-Fine-pass-2", "a-Fine-pass-3"] {
        let reply = try await client.setPassword(link, password)
        #expect(reply.status == 400 && reply.fieldCodes == ["new_password2": ["password_reused"]], "\(password)")
        #expect(reply.text.contains(#""params":{"count":4}"#))
      }
      #expect(try await client.setPassword(link, "a-Fine-pass-4").status == 200)
      let former = try await store(environment).formerPasswords(of: id, limit: 9)
      let expected = ["a-Fine-pass-3", "a-Fine-pass-2", "a-Fine-pass-1"]
      #expect(former.count == 3 && zip(former, expected).allSatisfy { harness.hasher.verify($1, encoded: $0) })
      try await reset(to: Harness.oldPassword, client)
    }
  }

  @Test(arguments: Database.allCases) func `are kept once if fifty requests with one link race`(_ database: Database) async throws {
    let environment = try environment(database)
    try await harness.run(environment) { client in
      let id = try await addUser(environment)
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
        for index in 0..<50 { group.addTask { try await client.setPassword(link, "a-Fine-pass-\(index)").status } }
        return try await group.reduce(into: [Int]()) { $0.append($1) }
      }
      #expect(statuses.count { $0 == 200 } == 1 && Set(statuses).isSubset(of: [200, 400]))
      let former = try await store(environment).formerPasswords(of: id, limit: 9)
      #expect(former.count == 1 && harness.hasher.verify(Harness.oldPassword, encoded: former.first ?? ""))
    }
  }

  @Test func `cost at most one hash each, after the other rules, and none with a wrong link`() async throws {
    let hasher = CountingHasher()
    let environment = try environment(.sqlite)
    try await harness.run(environment, hasher: hasher) { client in
      _ = try await addUser(environment)
      for number in 1...6 { try await reset(to: "a-Fine-pass-\(number)", client) }
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link(count: 7)
      func hashes(_ link: String, _ password: String) async throws -> [Int] {
        hasher.reset()
        _ = try await client.setPassword(link, password)
        return [hasher.verified, hasher.encoded]
      }
      #expect(try await hashes(link.dropLast() + (link.hasSuffix("0") ? "1" : "0"), "a-Fine-pass-7") == [0, 0])
      #expect(try await hashes(link, "short") == [0, 0])
      #expect(try await hashes(link, "a-Fine-pass-6") == [1, 0])
      #expect(try await hashes(link, "a-Fine-pass-3") == [4, 0])
      #expect(try await hashes(link, "a-Fine-pass-7") == [4, 1])
      #expect(try await hashes(link, "a-Fine-pass-8") == [0, 0])
    }
  }

  @Test func `are compared in the hashing pool, so that too many requests at once are refused`() async throws {
    let gate = CountingHasher(isGated: true)
    let capacity = 33 * ProcessInfo.processInfo.activeProcessorCount
    let environment = try environment(.sqlite)
    try await harness.run(environment, hasher: gate) { client in
      _ = try await addUser(environment)
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      try await withThrowingTaskGroup(of: Reply.self) { group in
        for _ in 0..<(capacity + 10) { group.addTask { try await client.setPassword(link, Harness.oldPassword) } }
        for _ in 0..<10 {
          let reply = try #require(try await group.next())
          #expect(reply.status == 503 && reply.code == "unavailable")
        }
        gate.open()
        for try await reply in group { #expect(reply.fieldCodes == ["new_password2": ["password_reused"]]) }
      }
    }
  }

  @Test func `are neither read nor kept without the rule`() async throws {
    let environment = try environment(.sqlite, rules: "[]")
    try await harness.run(environment) { client in
      let id = try await addUser(environment)
      try await reset(to: "a-Fine-pass-1", client)
      #expect(try await store(environment).formerPasswords(of: id, limit: 9) == [])
      #expect(!harness.statements.lines.contains { $0.contains(" password_reset_password_history") && !$0.contains("CREATE") })
    }
  }

  @Test func `and the current one have their own errors if a rule for each is configured`() async throws {
    let rules = #"[{"NAME": "CurrentPasswordValidator"}, {"NAME": "PasswordHistoryValidator", "OPTIONS": {"count": 2}}]"#
    let environment = try environment(.sqlite, rules: rules)
    try await harness.run(environment) { client in
      _ = try await addUser(environment)
      try await reset(to: "a-Fine-pass-1", client)
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link(count: 2)
      #expect(try await client.setPassword(link, "a-Fine-pass-1").fieldCodes == ["new_password2": ["password_unchanged"]])
      #expect(try await client.setPassword(link, Harness.oldPassword).fieldCodes == ["new_password2": ["password_reused"]])
      #expect((try await client.get(link).json["password_rules"] as? [String])?.last == "Your password can’t be one of your last 2 passwords.")
    }
  }

  @Test func `do not include a text that no password matches`() async throws {
    let environment = try environment(.sqlite)
    try await harness.run(environment) { client in
      let id = try await addUser(environment)
      // The cost is beyond the limit, so that verifying the hash would block a thread for hours.
      try harness.execute("UPDATE auth_user SET password = 'pbkdf2_sha256$2000000000$salt$aGFzaA=='")
      try await reset(to: "a-Fine-pass-1", client)
      #expect(try await store(environment).formerPasswords(of: id, limit: 9) == [])
    }
  }

  @Test func `with a hostile cost in the table are compared at no cost`() async throws {
    let environment = try environment(.sqlite)
    try await harness.run(environment) { client in
      let id = try await addUser(environment)
      for hash in ["pbkdf2_sha256$2000000000$salt$aGFzaA==", "scrypt$salt$1073741824$8$1$aGFzaA==", "nonsense", ""] {
        try harness.execute("INSERT INTO password_reset_password_history (user_id, password, at) VALUES (?, ?, 0)", [id.text, hash])
      }
      try await reset(to: "a-Fine-pass-1", client)
    }
  }

  @Test(arguments: Database.allCases) func `are deleted after the site has deleted the user, and those of others stay`(_ database: Database)
    async throws
  {
    let environment = try environment(database)
    try await harness.run(environment) { client in
      let id = try await addUser(environment)
      try await reset(to: "a-Fine-pass-1", client)
      let store = try store(environment)
      let bob = try #require(await store.addUser(username: "bob", email: "bob@example.com", password: harness.hasher.encode("x"), at: Date()))
      let user = try #require(await store.user(id: bob))
      var change = PasswordChange(user: user, newHash: "y", event: .setByStaff, requestID: "r", jobs: [])
      change.formerPasswordsToKeep = 3
      #expect(try await store.setPassword(change, at: Date()) != nil)
      #expect(Set(try await store.usersWithFormerPasswords(after: nil, limit: 9)) == [id, bob])
    }
    let delete = "DELETE FROM auth_user WHERE username = 'alice'"
    if database == .sqlite { try harness.execute(delete) } else { try PostgresCluster.sql(delete, url: environment["DATABASE_URL"] ?? "") }
    try await harness.run(environment) { _ in
      let store = try store(environment)
      let bob = try #require(await store.userRow(username: "bob")?.id)
      try await eventually("the deletion") { try await store.usersWithFormerPasswords(after: nil, limit: 9) == [bob] }
    }
  }
}

/// Counts what it hashes. If it is gated, it verifies only after the test has opened its gate.
private final class CountingHasher: PasswordHasher {
  let algorithm = "pbkdf2_sha256"
  let isBounded = true
  var specimen: String { hasher.specimen }

  private let hasher = PBKDF2PasswordHasher(iterations: 10)
  private let gate = DispatchSemaphore(value: 0)
  private let counts = Mutex((verified: 0, encoded: 0))

  init(isGated: Bool = false) { if !isGated { open() } }

  func open() { gate.signal() }

  var verified: Int { counts.withLock(\.verified) }
  var encoded: Int { counts.withLock(\.encoded) }

  func reset() { counts.withLock { $0 = (0, 0) } }

  func encode(_ password: String) throws(PasswordHashingError) -> String {
    counts.withLock { $0.encoded += 1 }
    return try hasher.encode(password)
  }

  func recognizes(_ encoded: String) -> Bool { hasher.recognizes(encoded) }

  func verify(_ password: String, encoded: String) -> Bool {
    gate.wait()
    gate.signal()
    counts.withLock { $0.verified += 1 }
    return hasher.verify(password, encoded: encoded)
  }
}
