import Foundation
import GRDB
import HTTPTypes
import HummingbirdTesting
import Logging
import PasswordReset
import Testing

@Suite struct `An accepted request` {
  @Test func `is answered while the mail server hangs`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      let release = DispatchSemaphore(value: 0)
      harness.mails.fail { _ in
        release.wait()
        return nil
      }
      #expect(try await client.requestReset(email: "alice@example.com").status == 202)
      try await eventually("the mail to be under way") { harness.mails.tried == 1 }
      #expect(try await client.requestReset(email: "bob@example.com").status == 202)
      #expect(harness.mails.sent.isEmpty)
      release.signal()
      _ = try await harness.link()
    }
  }

  @Test func `is mailed when the mail server is back`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      harness.mails.fail { _ in .transient(reason: "connection refused") }
      #expect(try await client.requestReset(email: "alice@example.com").status == 202)
      try await eventually("several attempts") { harness.mails.tried >= 3 }
      #expect(harness.mails.sent.isEmpty)
      harness.mails.fail { _ in nil }
      _ = try await harness.link()
      try await harness.drained()
      #expect(harness.mails.sent.count == 1)
      #expect(try audit(harness) == ["requested", "mailed"])
    }
  }

  @Test func `survives the end of the process: the next one sends its mail`() async throws {
    let harness = try Harness()
    try await harness.run(policy: .asleep) { client in
      try await harness.addUser()
      #expect(try await client.requestReset(email: "alice@example.com").status == 202)
    }
    #expect(harness.mails.sent.isEmpty)
    try await harness.run { _ in _ = try await harness.link() }
  }

  @Test func `whose email is refused for good becomes a dead letter with the reason`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      harness.mails.fail { _ in .permanent(reason: "550 no such mailbox") }
      _ = try await client.requestReset(email: "alice@example.com")
      try await harness.drained()
      let reason = try harness.sql { db in
        try String.fetchOne(db, sql: "SELECT last_error FROM password_reset_outbox WHERE dead_lettered_at IS NOT NULL")
      }
      #expect(reason == "550 no such mailbox")
      #expect(harness.mails.tried == 1)
      #expect(try audit(harness) == ["requested", "mail_failed"])
    }
  }

  @Test(arguments: [30, 3600, 3 * 3600, 400 * 86400])
  func `made while the clock was ahead is mailed after a restart with the right clock`(_ seconds: Double) async throws {
    let harness = try Harness()
    harness.mails.fail { _ in .unavailable(reason: "connection refused") }
    harness.clock.advance(by: seconds)
    try await harness.run { client in
      try await harness.addUser()
      for _ in 0..<2 { #expect(try await client.requestReset(email: "alice@example.com").status == 202) }
      try await eventually("attempts") { harness.mails.tried >= 4 }
    }
    harness.clock.advance(by: -seconds)
    harness.mails.fail { _ in nil }
    try await harness.run { _ in
      _ = try await harness.link(count: 2)
      try await harness.drained()
    }
    #expect(harness.mails.sent.count == 2)
  }

  @Test(arguments: [30, 3600, 3 * 3600, 400 * 86400])
  func `is mailed although the clock was ahead during an attempt`(_ seconds: Double) async throws {
    let harness = try Harness()
    harness.mails.fail { _ in .unavailable(reason: "connection refused") }
    try await harness.run { client in
      try await harness.addUser()
      #expect(try await client.requestReset(email: "alice@example.com").status == 202)
      try await eventually("an attempt") { harness.mails.tried >= 1 }
      harness.clock.advance(by: seconds)
      let tried = harness.mails.tried
      try await eventually("an attempt or a dead letter") {
        try harness.mails.tried > tried + 1 || harness.count("SELECT count(*) FROM password_reset_outbox WHERE dead_lettered_at IS NOT NULL") == 1
      }
      // A new request comes while the clock is ahead.
      #expect(try await client.requestReset(email: "alice@example.com").status == 202)
      harness.clock.advance(by: -seconds)
      harness.mails.fail { _ in nil }
      _ = try await harness.link(count: 2)
      try await harness.drained()
    }
    #expect(harness.mails.sent.count == 2)
    #expect(try harness.count("SELECT count(*) FROM password_reset_outbox") == 0)
  }

  @Test func `is no dead letter because a process started while the clock was ahead`() async throws {
    let harness = try Harness()
    try await harness.run(policy: .asleep) { client in
      try await harness.addUser()
      #expect(try await client.requestReset(email: "alice@example.com").status == 202)
    }
    harness.clock.advance(by: 3 * 86400)
    try await harness.run { _ in
      try await eventually("the dead letter") {
        try harness.count("SELECT count(*) FROM password_reset_outbox WHERE dead_lettered_at IS NOT NULL") == 1
      }
    }
    harness.clock.advance(by: -3 * 86400)
    try await harness.run { _ in _ = try await harness.link() }
  }

  @Test func `becomes a dead letter when it is too old to be of use`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      harness.mails.fail { _ in .transient(reason: "421") }
      _ = try await client.requestReset(email: "alice@example.com")
      try await eventually("an attempt") { harness.mails.tried >= 1 }
      harness.clock.advance(by: 25 * 3600)
      try await harness.drained()
      #expect(try audit(harness) == ["requested", "mail_failed"])
    }
  }

  @Test func `that cannot be mailed delays none of the others`() async throws {
    let harness = try Harness()
    try await harness.run(logLevel: .error) { client in
      for index in 0..<100 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      harness.mails.fail { $0.recipient == "user50@example.com" ? .transient(reason: "poison") : nil }
      for index in 0..<100 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await eventually("99 mails") { harness.mails.sent.count == 99 }
    }
  }

  @Test func `keeps its Message-ID over all attempts`() async throws {
    let harness = try Harness()
    let identifiers = Recorder()
    try await harness.run { client in
      try await harness.addUser()
      harness.mails.fail { message in
        identifiers.add(message.messageID)
        return identifiers.lines.count < 4 ? .transient(reason: "451") : nil
      }
      let reply = try await client.requestReset(email: "alice@example.com")
      _ = try await harness.link()
      #expect(Set(identifiers.lines).count == 1)
      let requestID = try #require(reply.headers[.requestID])
      #expect(identifiers.lines.first?.hasPrefix("\(requestID).") == true)
    }
  }

  @Test func `that arrives with a hundred others is on disk in a few transactions`() async throws {
    let harness = try Harness()
    try await harness.run(policy: .asleep, logLevel: .error) { client in
      let before = harness.statements.lines.count
      try await withThrowingTaskGroup { group in
        for index in 0..<100 { group.addTask { _ = try await client.requestReset(email: "user\(index)@example.com") } }
        try await group.waitForAll()
      }
      let commits = harness.statements.lines.dropFirst(before).filter { $0.hasPrefix("COMMIT") }.count
      #expect((1...20).contains(commits))
      #expect(try harness.count("SELECT count(*) FROM password_reset_outbox") == 100)
    }
  }

  @Test func `takes four writes until its email is sent`() async throws {
    let harness = try Harness()
    var policy = OutboxPolicy()
    policy.pollInterval = 3600
    policy.lease = 3600
    try await harness.run(policy: policy) { client in
      try await harness.addUser()
      // After its first claim the worker takes new jobs in memory.
      try await eventually("the first claim") { harness.statements.lines.contains { $0.hasPrefix("UPDATE password_reset_outbox SET owner") } }
      let before = harness.statements.lines.count
      _ = try await client.requestReset(email: "alice@example.com")
      try await harness.drained()
      // Deletions of old rows have a limit, and are not part of a request.
      let statements = harness.statements.lines.dropFirst(before).filter { !$0.contains("LIMIT") }
      let writes = statements.filter { $0.hasPrefix("INSERT") || $0.hasPrefix("UPDATE") || $0.hasPrefix("DELETE") }
      #expect(writes.map { $0.prefix(6) } == ["INSERT", "INSERT", "DELETE", "INSERT"], "\(writes)")
    }
  }

  private func audit(_ harness: Harness) throws -> [String] {
    try harness.sql { db in try String.fetchAll(db, sql: "SELECT event FROM password_reset_audit ORDER BY id") }
  }
}

@Suite struct `A request for many accounts` {
  @Test func `brings no more mails than are allowed, to the oldest accounts first`() async throws {
    let harness = try Harness()
    try await harness.run(["EMAIL_ACCOUNTS_PER_REQUEST": "3"]) { client in
      for index in 1...6 { try await harness.addUser("user\(index)", email: "shared@example.com") }
      try harness.execute("UPDATE auth_user SET is_active = 0 WHERE username = 'user1'")
      _ = try await client.requestReset(email: "shared@example.com")
      try await harness.drained()
      #expect(harness.mails.sent.map { $0.body.contains("user2") || $0.body.contains("user3") || $0.body.contains("user4") } == [true, true, true])
      let suppressed = try harness.count("SELECT count(*) FROM password_reset_audit WHERE event = 'suppressed' AND user_id IS NULL")
      #expect(suppressed == 1)
    }
  }
}

@Suite struct `The notice of a new password` {
  @Test(arguments: [true, false]) func `is sent unless it is switched off`(_ isOn: Bool) async throws {
    let harness = try Harness()
    try await harness.run(isOn ? [:] : ["EMAIL_PASSWORD_CHANGED": "false"]) { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      #expect(try await client.setPassword(link, "a-Fine-pass-77").status == 200)
      try await harness.drained()
      #expect(harness.mails.sent.count == (isOn ? 2 : 1))
    }
  }
}

@Suite struct `A dead letter` {
  @Test func `is deleted when it is old enough`() async throws {
    let harness = try Harness()
    try await harness.run(["EMAIL_DEAD_LETTER_DAYS": "7"]) { client in
      try await harness.addUser()
      harness.mails.fail { _ in .permanent(reason: "550") }
      _ = try await client.requestReset(email: "alice@example.com")
      try await eventually("a dead letter") {
        try harness.count("SELECT count(*) FROM password_reset_outbox WHERE dead_lettered_at IS NOT NULL") == 1
      }
      harness.clock.advance(by: 6 * 86400)
      _ = try await client.requestReset(email: "stranger@example.com")
      try await harness.drained()
      #expect(try harness.count("SELECT count(*) FROM password_reset_outbox") == 1)
      harness.clock.advance(by: 2 * 86400)
      try await eventually("no dead letter") { try harness.count("SELECT count(*) FROM password_reset_outbox") == 0 }
    }
  }
}

@Suite struct `The limit of an address` {
  @Test func `is silent, counts every spelling and user name, and kills no live link`() async throws {
    let harness = try Harness()
    try await harness.run(["RATE_LIMIT_MAILS": "1/m,2/h"]) { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      for body in [#"{"email": "ALICE@example.com"}"#, #"{"email": " alice@example.com"}"#, #"{"username": "alice"}"#] {
        #expect(try await client.send(.post, "/password-reset", body: body).status == 202)
      }
      try await harness.drained()
      #expect(harness.mails.sent.count == 1)
      #expect(try await client.get(link).json["validlink"] as? Bool == true)

      harness.clock.advance(by: 61)
      _ = try await client.requestReset(email: "alice@example.com")
      _ = try await harness.link(count: 2)
      harness.clock.advance(by: 61)
      _ = try await client.requestReset(email: "alice@example.com")
      try await harness.drained()
      #expect(harness.mails.sent.count == 2)
    }
  }

  @Test func `lets one of many through that come at once, also after a restart`() async throws {
    let harness = try Harness()
    for _ in 0..<2 {
      try await harness.run(["RATE_LIMIT_MAILS": "1/m"], logLevel: .error) { client in
        if harness.mails.tried == 0 { try await harness.addUser() }
        try await withThrowingTaskGroup { group in
          for _ in 0..<50 { group.addTask { _ = try await client.requestReset(email: "alice@example.com") } }
          try await group.waitForAll()
        }
        try await harness.drained()
        #expect(harness.mails.sent.count == 1)
      }
    }
  }

  @Test func `holds for the requests, not for the accounts that share the address`() async throws {
    let harness = try Harness()
    try await harness.run(["RATE_LIMIT_MAILS": "1/m"]) { client in
      for name in ["a", "b", "c"] { try await harness.addUser(name, email: "shared@example.com") }
      _ = try await client.requestReset(email: "shared@example.com")
      try await harness.drained()
      #expect(harness.mails.sent.count == 3)
    }
  }
}
