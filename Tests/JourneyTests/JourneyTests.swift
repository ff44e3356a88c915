import Credentials
import Foundation
import GRDB
import HTTPTypes
import HummingbirdTesting
import Logging
import PasswordReset
import Testing

@Suite struct `A reset` {
  @Test func `leads from the request to the new password`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      let id = try await harness.addUser()
      let accepted = try await client.requestReset(email: "alice@example.com")
      #expect(accepted.status == 202)
      #expect(accepted.text == #"{"detail":"If an account matches, we have emailed instructions for setting a new password."}"#)

      let link = try await harness.link()
      let checked = try await client.get(link)
      #expect(checked.status == 200)
      #expect(try checked.json["validlink"] as? Bool == true)
      #expect(try (checked.json["password_rules"] as? [String])?.count == 5)
      let expiry = try #require(try checked.json["expires_at"] as? String)
      #expect(abs(try Date(expiry, strategy: .iso8601).timeIntervalSince(harness.clock.now) - 3600) < 10)

      let done = try await client.setPassword(link, "a-Fine-pass-77")
      #expect(done.status == 200)
      #expect(done.text == #"{"detail":"Your password has been set. You may go ahead and log in now."}"#)
      let stored = try harness.password(of: id)
      #expect(harness.hasher.verify("a-Fine-pass-77", encoded: stored))
      #expect(!harness.hasher.verify(Harness.oldPassword, encoded: stored))

      let again = try await client.setPassword(link, "another-Fine-pass-78")
      #expect(again.status == 400)
      #expect(again.code == "invalid_link")
      #expect(try again.json["validlink"] as? Bool == false)
      #expect(try harness.password(of: id) == stored)
    }
  }

  @Test func `also works by user name, and names are compared as Django does`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser("Ame\u{301}lie".precomposedStringWithCompatibilityMapping, email: "amelie@example.com")
      for name in ["amélie", "Amelie"] { _ = try await client.send(.post, "/password-reset", body: #"{"username": "\#(name)"}"#) }
      try await harness.drained()
      #expect(harness.mails.sent.isEmpty)
      _ = try await client.send(.post, "/password-reset", body: #"{"username": "  Ame\u0301lie ", "locale": "fr"}"#)
      _ = try await harness.link(to: "amelie@example.com")
    }
  }

  @Test func `goes to the stored address of every account that has it, regardless of how it is typed`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser("alice", email: "Alice@example.com")
      try await harness.addUser("alice2", email: "alice@example.com")
      try await harness.addUser("mike", email: "mike@example.com")
      _ = try await client.requestReset(email: " ALICE@example.com ")
      _ = try await client.requestReset(email: "mıke@example.com")
      try await harness.drained()
      #expect(harness.mails.sent.map(\.recipient).sorted() == ["Alice@example.com", "alice@example.com"])
      #expect(Set(harness.mails.sent.map(\.messageID)).count == 2)
    }
  }

  @Test func `is followed by a notice without link or password`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      _ = try await client.setPassword(link, "a-Fine-pass-77")
      try await eventually("the notice") { harness.mails.sent.count == 2 }
      let notice = harness.mails.sent[1]
      #expect(notice.subject == "Your Example password was changed")
      #expect(notice.recipient == "alice@example.com")
      #expect(!notice.body.contains("http"))
      #expect(!notice.body.contains("a-Fine-pass-77"))
    }
  }

  @Test func `with a weak, mismatched or missing password leaves the link usable`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      let id = try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      let before = try harness.password(of: id)
      for (first, second, codes) in [
        ("1234", "1234", ["new_password2": ["password_too_short", "password_too_common", "password_entirely_numeric"]]),
        ("alice123", "alice123", ["new_password2": ["password_too_similar", "password_too_common"]]),
        ("a", "b", ["new_password2": ["password_mismatch"]]),
        ("abc", "", ["new_password2": ["required"]]),
        ("", "", ["new_password1": ["required"], "new_password2": ["required"]]),
        ("x\0yzzzzzzzz", "x\0yzzzzzzzz", ["new_password1": ["null_characters_not_allowed"], "new_password2": ["null_characters_not_allowed"]]),
        ("éééééééé", "e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}", ["new_password2": ["password_mismatch"]]),
        (String(repeating: "ab", count: 513), String(repeating: "ab", count: 513), ["new_password2": ["password_too_long"]]),
      ] {
        let reply = try await client.setPassword(link, first, second)
        #expect(reply.status == 400)
        #expect(reply.code == "validation_error")
        #expect(try reply.json["validlink"] as? Bool == true)
        #expect(reply.fieldCodes == codes)
      }
      #expect(try harness.password(of: id) == before)
      #expect(try await client.setPassword(link, " spaces stay, Ünïcode 😀 ").status == 200)
      #expect(harness.hasher.verify(" spaces stay, Ünïcode 😀 ", encoded: try harness.password(of: id)))
    }
  }
}

@Suite struct `A hasher` {
  @Test(arguments: [
    ("pbkdf2_sha256", "iterations=10"), ("pbkdf2_sha1", "iterations=10"), ("argon2", "memory_cost=64,time_cost=1,parallelism=1"),
    ("scrypt", "work_factor=16"), ("bcrypt_sha256", "rounds=4"), ("bcrypt", "rounds=4"),
  ])
  func `that is configured makes the new hash`(_ algorithm: String, _ options: String) async throws {
    let harness = try Harness()
    try await harness.run(["PASSWORD_HASHER": algorithm, "PASSWORD_HASHER_OPTIONS": options], hasher: .some(nil)) { client in
      let id = try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      let long = String(repeating: "a-Fine-pass-77 ", count: 5)
      let reply = try await client.setPassword(link, long)
      // Plain bcrypt would truncate it.
      #expect(reply.fieldCodes == (algorithm == "bcrypt" ? ["new_password2": ["password_too_long"]] : [:]))
      let rules = try await client.get(link).json["password_rules"] as? [String]
      #expect((rules?.contains("Your password must contain at most 72 bytes.") ?? false) == (algorithm == "bcrypt"))
      if algorithm == "bcrypt" { #expect(try await client.setPassword(link, String(long.prefix(72))).status == 200) }
      let encoded = try harness.password(of: id)
      #expect(encoded.hasPrefix(algorithm + "$"))
      #expect(PasswordHashers().verify(algorithm == "bcrypt" ? String(long.prefix(72)) : long, encoded: encoded))
    }
  }

  @Test func `compares with the current password if a rule demands it, and the link stays usable`() async throws {
    let harness = try Harness()
    let rules = #"[{"NAME": "MinimumLengthValidator"}, {"NAME": "CurrentPasswordValidator"}]"#
    try await harness.run(["AUTH_PASSWORD_VALIDATORS": rules]) { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      #expect(
        try await client.get(link).json["password_rules"] as? [String] == [
          "Your password must contain at least 8 characters.", "Your password must contain at most 1024 characters.",
          "Your password can’t be the same as your current password.",
        ])
      let refused = try await client.setPassword(link, Harness.oldPassword)
      #expect(refused.status == 400 && refused.fieldCodes == ["new_password2": ["password_unchanged"]])
      #expect(try await client.setPassword(link, "a-Fine-pass-77").status == 200)
    }
  }
}

@Suite struct `A password with the name of the site` {
  @Test(arguments: [
    ("en", "Your password can’t consist mainly of the name of this site or of related words."), ("ja", "サイトの名前や関連する語句を主体としたパスワードは使えません。"),
  ])
  func `is refused in the language of the client, and the link stays usable`(_ tag: String, _ rule: String) async throws {
    let harness = try Harness()
    try await harness.run(["AUTH_PASSWORD_VALIDATORS": #"[{"NAME": "ContextWordsValidator"}]"#]) { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      let check = try await client.send(.get, link, headers: [.acceptLanguage: tag])
      #expect((try check.json["password_rules"] as? [String])?.first == rule)
      for password in ["Example2026!", "ex4mp1e-99"] {
        #expect(try await client.setPassword(link, password).fieldCodes == ["new_password2": ["password_contains_context"]])
      }
      #expect(try await client.setPassword(link, "example-correct-horse").status == 200)
    }
  }
}

@Suite struct `A link` {
  @Test func `survives scanners: a thousand GET and HEAD requests change nothing`() async throws {
    let harness = try Harness()
    try await harness.run(logLevel: .error) { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      for _ in 0..<1000 {
        #expect(try await client.get(link).status == 200)
        let head = try await client.send(.head, link)
        #expect(head.status == 200)
        #expect(head.text.isEmpty)
        _ = try await client.send(.options, link)
      }
      #expect(try await client.setPassword(link, "a-Fine-pass-77").status == 200)
    }
  }

  @Test func `expires to the second, for checking and for setting`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      let start = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.up))
      _ = try await client.requestReset(email: "alice@example.com")
      harness.clock.freeze(at: start.addingTimeInterval(1))
      let link = try await harness.link()
      let token = try #require(link.split(separator: "/").last)
      let minted = TimeInterval(try #require(Int(token.prefix { $0 != "-" }, radix: 36)) + 978_307_200)
      harness.clock.freeze(at: Date(timeIntervalSince1970: minted + 3600.9))
      #expect(try await client.get(link).json["validlink"] as? Bool == true)
      #expect(try await client.setPassword(link, "weak").fieldCodes["new_password2"]?.contains("password_too_short") == true)
      harness.clock.freeze(at: Date(timeIntervalSince1970: minted + 3601))
      let late = try await client.get(link)
      #expect(late.status == 200)
      #expect(late.code == "expired_link")
      #expect(try await client.setPassword(link, "a-Fine-pass-77").code == "expired_link")
      // It is not genuine, so it is not reported as expired either.
      #expect(try await client.get(link.dropLast() + "x").code == "invalid_link")
    }
  }

  @Test(arguments: [
    "UPDATE auth_user SET password = 'pbkdf2_sha256$1$other$AAAA'", "UPDATE auth_user SET last_login = '2026-01-02 03:04:05.678901'",
    "UPDATE auth_user SET email = 'alice@example.org'", "UPDATE auth_user SET is_active = 0", "DELETE FROM auth_user",
  ])
  func `becomes invalid with a password change, a sign-in, an address change, deactivation and deletion`(_ change: String) async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      #expect(try await client.get(link).json["validlink"] as? Bool == true)
      try harness.execute(change)
      #expect(try await client.get(link).code == "invalid_link")
      #expect(try await client.setPassword(link, "a-Fine-pass-77").code == "invalid_link")
    }
  }

  @Test func `that is wrong in any way always gets the same response`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser("carol", email: "carol@example.com")
      let inactive = try await harness.addUser("bob", email: "bob@example.com")
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      #expect(try await client.setPassword(link, "a-Fine-pass-77").status == 200)
      try harness.execute("UPDATE auth_user SET is_active = 0 WHERE id = ?", [inactive.text])
      _ = try await client.requestReset(email: "carol@example.com")
      let other = try await harness.link(to: "carol@example.com")
      #expect(try await client.get(other).json["validlink"] as? Bool == true)
      let token = "d8ary8-578199d4e42f291f0f3bce532651119e"
      let huge = String(repeating: "A", count: 4000)
      let links = [
        link, "/password-reset/\(UIDB64.encode(inactive))/\(token)", "/password-reset/OTk5/\(token)", "/password-reset/MQ/\(token)",
        "/password-reset/MQ/\(huge)", "/password-reset/\(huge)/\(token)", other.replacing("/MQ/", with: "/%4dQ/"), "/password-reset/MQ/%00",
        "/password-reset/LTE/\(token)", "/password-reset/OTk5OTk5OTk5OTk5OTk5OTk5OTk/\(token)", "/password-reset/%C3%A9/%C3%BC-%C3%B1",
        "/password-reset/MQ==/\(token)", "/password-reset/%20/-", "/password-reset/MQ/1-2-3",
      ]
      let checks = try await collect(links) { try await client.get($0).fingerprint }
      #expect(checks.count == 1)
      let confirms = try await collect(links) { try await client.setPassword($0, "another-Fine-pass-78").fingerprint }
      #expect(confirms.count == 1)
    }
  }

  private func collect(_ links: [String], _ reply: (String) async throws -> String) async throws -> Set<String> {
    var replies: Set<String> = []
    for link in links { replies.insert(try await reply(link)) }
    return replies
  }

  @Test func `used by fifty clients at once sets only the winner's password, in each of twenty rounds`() async throws {
    let harness = try Harness()
    try await harness.run(logLevel: .error) { client in
      let id = try await harness.addUser()
      for round in 1...20 {
        _ = try await client.requestReset(email: "alice@example.com")
        let link = try await harness.link(count: round)
        let barrier = Barrier(parties: 50)
        let replies = try await withThrowingTaskGroup(of: (String, Int, String?).self) { group in
          for index in 0..<50 {
            group.addTask {
              let password = "round-\(round)-Password-\(index)"
              await barrier.wait()
              let reply = try await client.setPassword(link, password)
              return (password, reply.status, reply.code)
            }
          }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        let winners = replies.filter { $0.1 == 200 }
        #expect(winners.count == 1)
        #expect(replies.filter { $0.2 == "invalid_link" }.count == 49)
        #expect(harness.hasher.verify(try #require(winners.first).0, encoded: try harness.password(of: id)))
      }
      let audited = try harness.count("SELECT count(*) FROM password_reset_audit WHERE event = 'reset'")
      #expect(audited == 20)
    }
  }
}

/// Lets all tasks continue when all have arrived.
private actor Barrier {
  private let parties: Int
  private var waiting: [CheckedContinuation<Void, Never>] = []

  init(parties: Int) { self.parties = parties }

  func wait() async {
    if waiting.count == parties - 1 {
      for waiter in waiting { waiter.resume() }
      waiting = []
    } else {
      await withCheckedContinuation { waiting.append($0) }
    }
  }
}
