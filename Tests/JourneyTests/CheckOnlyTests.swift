import Foundation
import HummingbirdTesting
import PasswordReset
import PostgresStore
import Testing

/// Requests with `check_only`, which validate a new password and set nothing.
@Suite struct `A check of a password` {
  private static let good = "a-Fine-pass-77"

  private static func body(_ first: String, _ second: String? = nil, _ members: String = #""check_only": true"#) -> String {
    let second = second.map { #""new_password2": "\#($0)", "# } ?? ""
    return #"{"new_password1": "\#(first)", \#(second)\#(members)}"#
  }

  @Test func `sets nothing, writes nothing, and leaves the link usable`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      let id = try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      try await harness.drained()
      let before = (try harness.password(of: id), try harness.count("SELECT count(*) FROM password_reset_audit"), harness.statements.lines.count)
      for body in [
        Self.body(Self.good), Self.body(Self.good, Self.good), Self.body(Self.good, ""),
        #"{"new_password1": "a-Fine-pass-77", "check_only": true, "new_password2": null}"#,
      ] {
        let reply = try await client.send(.post, link, body: body)
        #expect(reply.status == 200)
        #expect(reply.text == #"{"detail":"You can use this password. It has not been set yet."}"#)
      }
      #expect(try await client.send(.post, link, body: Self.body("1234")).status == 400)
      let writes = harness.statements.lines.dropFirst(before.2).filter {
        $0.contains(/^ *(INSERT|UPDATE|DELETE)/) && !$0.contains("outbox")
      }
      #expect(writes.isEmpty)
      #expect(try harness.password(of: id) == before.0)
      #expect(try harness.count("SELECT count(*) FROM password_reset_audit") == before.1)
      #expect(harness.mails.sent.count == 1)
      #expect(try await client.setPassword(link, Self.good).status == 200)
    }
  }

  @Test func `reports the errors at the field that was sent, or where Django has them if both were`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      for (body, codes) in [
        (Self.body("1234"), ["new_password1": ["password_too_short", "password_too_common", "password_entirely_numeric"]]),
        (Self.body("1234", ""), ["new_password1": ["password_too_short", "password_too_common", "password_entirely_numeric"]]),
        (Self.body("alice123"), ["new_password1": ["password_too_similar", "password_too_common"]]),
        (Self.body("1234", "1234"), ["new_password2": ["password_too_short", "password_too_common", "password_entirely_numeric"]]),
        (Self.body(Self.good, "a-Fine"), ["new_password2": ["password_mismatch"]]),
        (Self.body(""), ["new_password1": ["required"]]),
        (#"{"check_only": true}"#, ["new_password1": ["required"]]),
        (#"{"new_password1": 5, "check_only": true}"#, ["new_password1": ["invalid"]]),
        (Self.body(#"x\u0000yzzzzzzz"#), ["new_password1": ["null_characters_not_allowed"]]),
        (Self.body(Self.good, nil, #""check_only": true, "locale": 5"#), ["locale": ["invalid"]]),
      ] {
        let reply = try await client.send(.post, link, body: body)
        #expect(reply.status == 400 && reply.code == "validation_error")
        #expect(reply.fieldCodes == codes, "\(body)")
        #expect(try reply.json["validlink"] as? Bool == true)
      }
    }
  }

  @Test(arguments: [#""yes""#, #""true""#, "1", "0", "[true]", "{}", #""""#])
  func `is neither made nor left out because of a value that is no boolean`(_ value: String) async throws {
    let harness = try Harness()
    try await harness.run { client in
      let id = try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      let before = try harness.password(of: id)
      let reply = try await client.send(.post, link, body: Self.body(Self.good, Self.good, #""check_only": \#(value)"#))
      #expect(reply.status == 400 && reply.fieldCodes == ["check_only": ["invalid"]])
      #expect(try harness.password(of: id) == before)
    }
  }

  @Test(arguments: ["false", "null"]) func `is not made if the member says no, and then both passwords are required`(_ value: String) async throws {
    let harness = try Harness()
    try await harness.run { client in
      let id = try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      let half = try await client.send(.post, link, body: Self.body(Self.good, nil, #""check_only": \#(value)"#))
      #expect(half.fieldCodes == ["new_password2": ["required"]])
      #expect(try await client.send(.post, link, body: Self.body(Self.good, Self.good, #""check_only": \#(value)"#)).status == 200)
      #expect(harness.hasher.verify(Self.good, encoded: try harness.password(of: id)))
    }
  }

  @Test func `also compares with the current password, in the reader's language`() async throws {
    let harness = try Harness()
    try await harness.run(["AUTH_PASSWORD_VALIDATORS": #"[{"NAME": "CurrentPasswordValidator"}]"#]) { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      let half = try await client.send(.post, link, body: Self.body(Harness.oldPassword))
      #expect(half.fieldCodes == ["new_password1": ["password_unchanged"]])
      let both = try await client.send(.post, link, body: Self.body(Harness.oldPassword, Harness.oldPassword))
      #expect(both.fieldCodes == ["new_password2": ["password_unchanged"]])
      let german = try await client.send(.post, link, body: Self.body(Self.good, nil, #""check_only": true, "locale": "de""#))
      #expect(german.text == #"{"detail":"Sie können dieses Passwort verwenden. Es ist noch nicht gespeichert."}"#)
      #expect(german.headers[.contentLanguage] == "de")
    }
  }

  @Test func `needs a valid link`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      #expect(try await client.send(.post, link, body: Self.body(Self.good)).status == 200)
      let forged = try await client.send(.post, link.dropLast() + "x", body: Self.body("1234"))
      #expect(forged.status == 400 && forged.code == "invalid_link" && forged.fieldCodes.isEmpty)
      harness.clock.advance(by: 4000)
      #expect(try await client.send(.post, link, body: Self.body("1234")).code == "expired_link")
      harness.clock.advance(by: -4000)
      #expect(try await client.setPassword(link, Self.good).status == 200)
      #expect(try await client.send(.post, link, body: Self.body(Self.good)).code == "invalid_link")
    }
  }

  @Test func `counts against the limit of links`() async throws {
    let harness = try Harness()
    try await harness.run(["RATE_LIMIT_LINKS": "2/h"]) { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      #expect(try await client.send(.post, link, body: Self.body(Self.good)).status == 200)
      #expect(try await client.get(link).status == 200)
      #expect(try await client.send(.post, link, body: Self.body(Self.good)).status == 429)
    }
  }

  @Test func `on PostgreSQL sets nothing either`() async throws {
    let harness = try Harness()
    let url = try PostgresCluster.newDatabase()
    let rules = #"[{"NAME": "CurrentPasswordValidator"}]"#
    try await harness.run(["DATABASE_URL": url, "AUTH_PASSWORD_VALIDATORS": rules]) { client in
      let store = try PostgresStore(PostgresAddress(url: url))
      _ = try await store.addUser(
        username: "alice", email: "alice@example.com", password: harness.hasher.encode(Harness.oldPassword), at: Date())
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      #expect(try await client.send(.post, link, body: Self.body(Self.good)).status == 200)
      #expect(
        try await client.send(.post, link, body: Self.body(Harness.oldPassword)).fieldCodes == ["new_password1": ["password_unchanged"]])
      #expect(harness.hasher.verify(Harness.oldPassword, encoded: try PostgresCluster.sql("SELECT password FROM auth_user", url: url)))
      #expect(try await client.setPassword(link, Self.good).status == 200)
    }
  }
}
