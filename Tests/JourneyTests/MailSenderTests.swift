import Foundation
import HummingbirdTesting
import PasswordReset
import Synchronization
import Testing

@Suite struct `The mail sender` {
  @Test func `sends no more emails at once than there are connections`() async throws {
    let harness = try Harness()
    let busy = Mutex((now: 0, most: 0))
    harness.mails.hold {
      busy.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
      try? await Task.sleep(for: .milliseconds(5))
      busy.withLock { $0.now -= 1 }
    }
    try await harness.run(policy: .asleep, logLevel: .error) { client in
      for index in 0..<40 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      for index in 0..<40 { _ = try await client.requestReset(email: "user\(index)@example.com") }
    }
    try await harness.run(["EMAIL_CONNECTIONS": "3"], logLevel: .error) { _ in
      try await harness.drained()
      #expect(harness.mails.sent.count == 40)
      #expect(busy.withLock(\.most) == 3)
    }
  }

  @Test func `pauses while the server is away, and continues when the first email gets through`() async throws {
    let harness = try Harness()
    let isAway = Mutex(true)
    try await harness.run(logLevel: .error) { client in
      for index in 0..<200 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      harness.mails.fail { _ in isAway.withLock { $0 } ? .unavailable(reason: "away") : nil }
      for index in 0..<200 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await eventually("some attempts") { harness.mails.tried >= 8 }
      // The breaker lets single emails through as probes; the others wait without an attempt.
      #expect(try harness.count("SELECT count(*) FROM password_reset_outbox WHERE last_error IS NULL") >= 100)
      isAway.withLock { $0 = false }
      try await eventually("all emails") { harness.mails.sent.count == 200 }
    }
  }

  @Test func `sends the others while one email fails`() async throws {
    let harness = try Harness()
    try await harness.run(logLevel: .error) { client in
      for index in 0..<50 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      harness.mails.fail { $0.recipient == "user0@example.com" ? .unavailable(reason: "falls silent at this one") : nil }
      for index in 0..<50 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await eventually("the 49 other emails") { harness.mails.sent.count == 49 }
    }
  }

  @Test func `spaces emails evenly if a rate is set`() async throws {
    let harness = try Harness()
    let times = Mutex<[Date]>([])
    try await harness.run(["EMAIL_RATE_LIMIT": "100/s"], logLevel: .error) { client in
      for index in 0..<20 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      harness.mails.hold { times.withLock { $0.append(Date()) } }
      for index in 0..<20 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await harness.drained()
    }
    let sorted = times.withLock { $0.sorted() }
    let first = try #require(sorted.first)
    let last = try #require(sorted.last)
    // Twenty emails take nineteen hundredths of a second. A busy machine may need longer, but not less.
    #expect(sorted.count == 20 && last.timeIntervalSince(first) >= 0.185)
  }

  /// Requests emails for new users, and waits until one is being sent and this process holds all.
  private func startEmails(_ count: Int, _ harness: Harness, _ client: any TestClientProtocol) async throws {
    for index in 0..<count { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
    for index in 0..<count { _ = try await client.requestReset(email: "user\(index)@example.com") }
    try await eventually("an email in progress and leases on all") {
      try harness.mails.tried == 1 && harness.count("SELECT count(*) FROM password_reset_outbox WHERE owner IS NOT NULL") == count
    }
  }

  @Test func `releases unsent emails at shutdown, for the next start`() async throws {
    let harness = try Harness()
    let isEnding = Mutex(false)
    // The email in progress ends after the shutdown has released the others.
    harness.mails.hold { [unowned harness] in
      try? await eventually("the other emails to be released") {
        try isEnding.withLock { $0 } && harness.count("SELECT count(*) FROM password_reset_outbox WHERE owner IS NULL") == 9
      }
    }
    try await harness.run(["EMAIL_CONNECTIONS": "1"], logLevel: .error) { client in
      try await startEmails(10, harness, client)
      isEnding.withLock { $0 = true }
    }
    // No row has a lease, which would delay its email after the next start.
    #expect(harness.mails.sent.count == 1)
    let now = Int64(Date().timeIntervalSince1970 * 1000) + 100
    #expect(try harness.count("SELECT count(*) FROM password_reset_outbox WHERE due_at <= \(now)") == 9)
  }

  @Test func `extends the lease of the email in progress at shutdown, so that no other process sends it`() async throws {
    let harness = try Harness()
    let isEnding = Mutex(false)
    let isExtended = Mutex(false)
    harness.mails.hold { [unowned harness] in
      try? await eventually("the shutdown to release the other email") {
        try isEnding.withLock { $0 } && harness.count("SELECT count(*) FROM password_reset_outbox WHERE owner IS NULL") == 1
      }
      guard let end = try? harness.count("SELECT max(due_at) FROM password_reset_outbox WHERE owner IS NOT NULL") else { return }
      try? await eventually("a longer lease") {
        try harness.count("SELECT max(due_at) FROM password_reset_outbox WHERE owner IS NOT NULL") > end
      }
      isExtended.withLock { $0 = true }
    }
    try await harness.run(["EMAIL_CONNECTIONS": "1"], policy: .oneAfterTheOther, logLevel: .error) { client in
      try await startEmails(2, harness, client)
      isEnding.withLock { $0 = true }
    }
    #expect(isExtended.withLock { $0 } && harness.mails.sent.count == 1)
  }

  @Test(arguments: [true, false]) func `tries at shutdown to record what it sent, and ends although it cannot`(isRepaired: Bool) async throws {
    let harness = try Harness()
    let isEnding = Mutex(false)
    harness.mails.hold { [unowned harness] in
      try? await eventually("the shutdown to release the other email") {
        try isEnding.withLock { $0 } && harness.count("SELECT count(*) FROM password_reset_outbox WHERE owner IS NULL") == 1
      }
      try? harness.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON password_reset_audit WHEN NEW.event = 'mailed' BEGIN SELECT RAISE(ABORT, 'refused'); END")
    }
    async let repaired: Void = {
      try await eventually("a failed attempt to record") { harness.log.lines.contains { $0.contains("is not yet recorded") } }
      if isRepaired { try harness.execute("DROP TRIGGER refuse") }
    }()
    try await harness.run(["EMAIL_CONNECTIONS": "1"], logLevel: .error) { client in
      try await startEmails(2, harness, client)
      isEnding.withLock { $0 = true }
    }
    try await repaired
    #expect(harness.mails.sent.count == 1)
    #expect(try harness.count("SELECT count(*) FROM password_reset_outbox") == (isRepaired ? 1 : 2))
    #expect(try harness.count("SELECT count(*) FROM password_reset_audit WHERE event = 'mailed'") == (isRepaired ? 1 : 0))
  }

  @Test func `keeps the rate after the server has stalled`() async throws {
    let harness = try Harness()
    let times = Mutex<[Date]>([])
    let isFirst = Mutex(true)
    let areOthersWaiting = Mutex(false)
    // The first email takes half a second by the sender's clock while the others wait.
    harness.mails.hold { [clock = harness.clock] in
      let first = isFirst.withLock { value in
        defer { value = false }
        return value
      }
      if first {
        try? await eventually("the others to wait") { areOthersWaiting.withLock { $0 } }
        clock.advance(by: 0.5)
      }
      times.withLock { $0.append(Date()) }
    }
    try await harness.run(["EMAIL_RATE_LIMIT": "50/s", "EMAIL_CONNECTIONS": "1"], logLevel: .error) { client in
      for index in 0..<10 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      for index in 0..<10 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await eventually("leases on all") {
        try harness.count("SELECT count(*) FROM password_reset_outbox WHERE owner IS NOT NULL") == 10
      }
      areOthersWaiting.withLock { $0 = true }
      try await harness.drained()
    }
    let sorted = times.withLock { $0.sorted() }
    // The nine that waited are still a fiftieth of a second apart. A busy machine may need longer, but not less.
    #expect(sorted.count == 10 && sorted[9].timeIntervalSince(sorted[1]) >= 0.15)
  }

  @Test func `is not blocked by one email that fails repeatedly`() async throws {
    let harness = try Harness()
    try await harness.run(["EMAIL_CONNECTIONS": "1"], logLevel: .error) { client in
      for name in ["bad", "good"] { try await harness.addUser(name, email: "\(name)@example.com") }
      harness.mails.fail { $0.recipient == "bad@example.com" ? .unavailable(reason: "69") : nil }
      _ = try await client.requestReset(email: "bad@example.com")
      try await eventually("many attempts") { harness.mails.tried >= 12 }
      _ = try await client.requestReset(email: "good@example.com")
      _ = try await harness.link(to: "good@example.com")
    }
  }

  @Test func `sends no email whose row was deleted while it waited`() async throws {
    let harness = try Harness()
    try await harness.run(["EMAIL_CONNECTIONS": "1"], policy: .oneAfterTheOther, logLevel: .error) { client in
      for index in 0..<4 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      let release = Recorder()
      harness.mails.hold { while release.lines.isEmpty { try? await Task.sleep(for: .milliseconds(5)) } }
      for index in 0..<4 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await eventually("an email in progress and leases on the others") {
        try harness.mails.tried == 1 && harness.count("SELECT count(*) FROM password_reset_outbox WHERE attempts > 0") == 4
      }
      try harness.execute("DELETE FROM password_reset_outbox")
      // The first extension of the leases finds the rows missing. When the second begins, the worker has processed the first.
      let extensions = harness.leaseExtensions
      try await eventually("two extensions of the leases") { harness.leaseExtensions >= extensions + 2 }
      release.add("now")
      try await eventually("the email in progress") { harness.mails.sent.count == 1 }
      try await harness.addUser("last", email: "last@example.com")
      _ = try await client.requestReset(email: "last@example.com")
      _ = try await harness.link(to: "last@example.com")
      #expect(harness.mails.sent.count == 2)
    }
  }

  @Test func `sends no email twice because the database was locked when it was sent`() async throws {
    let harness = try Harness()
    try await harness.run(logLevel: .error) { client in
      for index in 0..<4 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      let release = Recorder()
      harness.mails.hold { while release.lines.isEmpty { try? await Task.sleep(for: .milliseconds(5)) } }
      for index in 0..<4 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await eventually("the emails in progress") { harness.mails.tried == 4 }
      // The lock outlasts the wait of a statement and the leases.
      try await harness.lockDatabase {
        release.add("now")
        try await eventually("a refused write for each email") {
          harness.log.lines.filter { $0.contains("Cannot write to the outbox; the outcome of a job") }.count == 4
        }
        harness.clock.advance(by: OutboxPolicy().lease)
      }
      try await harness.drained()
      #expect(harness.mails.sent.count == 4)
      #expect(try harness.count("SELECT count(*) FROM password_reset_audit WHERE event = 'mailed'") == 4)
    }
  }
}

extension Harness {
  /// The number of statements so far that extend leases.
  fileprivate var leaseExtensions: Int { statements.lines.filter { $0.contains("SET due_at = max(due_at") }.count }
}
