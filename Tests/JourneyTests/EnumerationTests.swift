import Foundation
import GRDB
import HTTPTypes
import HummingbirdTesting
import PasswordReset
import Testing

@Suite struct `A client cannot learn whether an account exists` {
  /// A known and an unknown address, one of an inactive user, one with an unusable password, and one in its cool-down.
  private static let emails = ["known@example.com", "unknown@example.com", "inactive@example.com", "unusable@example.com", "cooling@example.com"]

  private func addAccounts(_ harness: Harness) async throws {
    try await harness.addUser("known", email: "known@example.com")
    let inactive = try await harness.addUser("inactive", email: "inactive@example.com")
    try harness.execute("UPDATE auth_user SET is_active = 0 WHERE id = ?", [inactive.text])
    try await harness.addUser("unusable", email: "unusable@example.com", password: nil)
    try await harness.addUser("cooling", email: "cooling@example.com")
  }

  @Test(arguments: [nil, MailError.transient(reason: "421"), .permanent(reason: "550")])
  func `from the response, whether or not the email can be sent`(_ failure: MailError?) async throws {
    let harness = try Harness()
    try await harness.run(["RATE_LIMIT_MAILS": "1/m,5/h"]) { client in
      try await addAccounts(harness)
      _ = try await client.requestReset(email: "cooling@example.com")
      _ = try await harness.link(to: "cooling@example.com")
      harness.mails.fail { _ in failure }
      var replies: Set<String> = []
      for email in Self.emails + Self.emails { replies.insert(try await client.requestReset(email: email).fingerprint) }
      for name in ["known", "unknown", "inactive"] {
        replies.insert(try await client.send(.post, "/password-reset", body: #"{"username": "\#(name)"}"#).fingerprint)
      }
      #expect(replies.count == 1)
    }
  }

  @Test func `from the handler's work: it reads no user before the response`() async throws {
    let harness = try Harness()
    // The worker does read users.
    try await harness.run(policy: .asleep) { client in
      try await addAccounts(harness)
      let before = harness.statements.lines.count
      for email in Self.emails { #expect(try await client.requestReset(email: email).status == 202) }
      let statements = harness.statements.lines.dropFirst(before)
      #expect(statements.filter { $0.contains("INSERT INTO password_reset_outbox") }.count == Self.emails.count)
      #expect(!statements.contains { $0.contains("auth_user") })
    }
  }

  @Test func `and only users who may sign in get an email`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await addAccounts(harness)
      for email in Self.emails { _ = try await client.requestReset(email: email) }
      try await harness.drained()
      #expect(harness.mails.sent.map(\.recipient).sorted() == ["cooling@example.com", "known@example.com"])
    }
  }

  @Test func `from a link: the response to a valid one contains nothing about the account`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser("Xanthippe", email: "zeta@example.com")
      _ = try await client.requestReset(email: "zeta@example.com")
      let reply = try await client.get(harness.link(to: "zeta@example.com"))
      #expect(Set(try reply.json.keys) == ["validlink", "expires_at", "password_rules"])
      #expect(!reply.text.contains("Xanthippe") && !reply.text.contains("zeta"))
    }
  }
}
