import Foundation
import GRDB
import HTTPTypes
import HummingbirdTesting
import PasswordReset
import Testing

@Suite struct `Nobody learns whether an account exists` {
  /// Known, unknown, inactive, with an unusable password, and in the cool-down of its address.
  private static let emails = ["known@example.com", "unknown@example.com", "inactive@example.com", "unusable@example.com", "cooling@example.com"]

  private func addAccounts(_ harness: Harness) async throws {
    try await harness.addUser("known", email: "known@example.com")
    let inactive = try await harness.addUser("inactive", email: "inactive@example.com")
    try harness.execute("UPDATE auth_user SET is_active = 0 WHERE id = ?", [inactive.text])
    try await harness.addUser("unusable", email: "unusable@example.com", password: nil)
    try await harness.addUser("cooling", email: "cooling@example.com")
  }

  @Test(arguments: [nil, MailError.transient(reason: "421"), .permanent(reason: "550")])
  func `by the reply, whatever happens to the mail`(_ failure: MailError?) async throws {
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

  @Test func `by what the handler does: no statement on the users comes before the reply`() async throws {
    let harness = try Harness()
    // The worker is another matter.
    try await harness.run(policy: .asleep) { client in
      try await addAccounts(harness)
      let before = harness.statements.lines.count
      for email in Self.emails { #expect(try await client.requestReset(email: email).status == 202) }
      let statements = harness.statements.lines.dropFirst(before)
      #expect(statements.filter { $0.contains("INSERT INTO password_reset_outbox") }.count == Self.emails.count)
      #expect(!statements.contains { $0.contains("auth_user") })
    }
  }

  @Test func `and only who may log in gets a mail`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await addAccounts(harness)
      for email in Self.emails { _ = try await client.requestReset(email: email) }
      try await harness.drained()
      #expect(harness.mails.sent.map(\.recipient).sorted() == ["cooling@example.com", "known@example.com"])
    }
  }

  @Test func `by a link: the valid reply holds nothing of the account`() async throws {
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
