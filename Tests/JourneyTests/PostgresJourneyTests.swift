import Foundation
import HummingbirdTesting
import PasswordReset
import PostgresStore
import Testing

/// The service on PostgreSQL, through its routes.
@Suite struct `A reset on PostgreSQL` {
  private let harness: Harness
  private let url: String

  init() throws {
    harness = try Harness()
    url = try PostgresCluster.newDatabase()
  }

  private func run(
    _ environment: [String: String] = [:], policy: OutboxPolicy = .quick, _ test: @Sendable (any TestClientProtocol) async throws -> Void
  ) async throws {
    try await harness.run(["DATABASE_URL": url].merging(environment) { $1 }, policy: policy, test)
  }

  private func addUser(_ username: String, email: String, password: String = Harness.oldPassword) async throws {
    let store = try PostgresStore(PostgresAddress(url: url))
    _ = try await store.addUser(username: username, email: email, password: harness.hasher.encode(password), at: Date())
  }

  private func sql(_ statements: String) throws -> String { try PostgresCluster.sql(statements, url: url) }

  private func drained() async throws {
    try await eventually("an empty outbox") { try sql("SELECT count(*) FROM password_reset.outbox WHERE dead_lettered_at IS NULL") == "0" }
  }

  @Test func `leads from the request to the new password, once`() async throws {
    try await run { client in
      try await addUser("alice", email: "alice@example.com")
      #expect(try await client.requestReset(email: "ALICE@example.com").status == 202)
      let link = try await harness.link()
      #expect(try await client.get(link).json["validlink"] as? Bool == true)
      #expect(try await client.setPassword(link, "a-Fine-pass-77").status == 200)
      #expect(harness.hasher.verify("a-Fine-pass-77", encoded: try sql("SELECT password FROM auth_user")))
      let again = try await client.setPassword(link, "another-Fine-pass-78")
      #expect(again.status == 400 && again.code == "invalid_link")
      try await drained()
      #expect(try sql("SELECT string_agg(event, ',' ORDER BY id) FROM password_reset.audit").hasPrefix("requested,mailed,reset"))
      #expect(harness.mails.sent.count == 2)
    }
  }

  @Test func `reads no user before the response to a request, and reveals nothing by it`() async throws {
    // The worker does read users.
    try await run(policy: .asleep) { client in
      try await addUser("known", email: "known@example.com")
      _ = try await client.requestReset(email: "known@example.com")
      let before = harness.statements.lines.count
      var replies = Set<String>()
      for email in ["known@example.com", "unknown@example.com"] { replies.insert(try await client.requestReset(email: email).fingerprint) }
      #expect(replies.count == 1)
      let statements = harness.statements.lines.dropFirst(before)
      #expect(statements.filter { $0.contains("INSERT INTO password_reset.outbox") }.count == 2)
      #expect(!statements.contains { $0.contains("auth_user") })
    }
  }

  @Test func `answers a link with any key, known or not, by the same statements`() async throws {
    try await run(policy: .asleep) { client in
      try await addUser("known", email: "known@example.com")
      func statements(_ path: String) async throws -> [String] {
        let before = harness.statements.lines.count
        #expect(try await client.get(path).json["validlink"] as? Bool == false)
        return harness.statements.lines.dropFirst(before).filter { $0.contains("auth_user") }
      }
      _ = try await statements("/password-reset/MQ/d8ary8-578199d4e42f291f0f3bce532651119e")
      let known = try await statements("/password-reset/MQ/d8ary8-578199d4e42f291f0f3bce532651119e")
      let unknown = try await statements("/password-reset/OTk/d8ary8-578199d4e42f291f0f3bce532651119e")
      #expect(known.count == 1 && known == unknown)
    }
  }

  @Test func `lets one of fifty racers set the password`() async throws {
    try await run { client in
      try await addUser("alice", email: "alice@example.com")
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
        for index in 0..<50 { group.addTask { try await client.setPassword(link, "a-Fine-pass-\(index)").status } }
        return try await group.reduce(into: [Int]()) { $0.append($1) }
      }
      #expect(statuses.count { $0 == 200 } == 1 && Set(statuses).isSubset(of: [200, 400]))
      #expect(try sql("SELECT count(*) FROM password_reset.audit WHERE event = 'reset'") == "1")
    }
  }

  @Test func `puts no token and no password into the database`() async throws {
    try await run { client in
      try await addUser("alice", email: "alice@example.com")
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      #expect(try await client.setPassword(link, "a-Fine-pass-77").status == 200)
      try await drained()
      let token = try #require(link.split(separator: "/").last)
      let everything = try sql("SELECT * FROM auth_user; SELECT * FROM password_reset.audit; SELECT * FROM password_reset.outbox")
      #expect(!everything.contains(token) && !everything.contains("a-Fine-pass-77"))
    }
  }
}
