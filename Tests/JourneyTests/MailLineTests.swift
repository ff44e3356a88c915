import Foundation
import PasswordReset
import Synchronization
import Testing

@Suite struct `The way to the mail server` {
  @Test func `takes no more mails at once than there are connections`() async throws {
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

  @Test func `closes while the server is away, and is open for all with the first mail that goes`() async throws {
    let harness = try Harness()
    let isAway = Mutex(true)
    try await harness.run(logLevel: .error) { client in
      for index in 0..<200 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      harness.mails.fail { _ in isAway.withLock { $0 } ? .unavailable(reason: "away") : nil }
      for index in 0..<200 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await eventually("some tries") { harness.mails.tried >= 8 }
      // Single mails try it; the rest wait without having been tried.
      #expect(try harness.count("SELECT count(*) FROM password_reset_outbox WHERE last_error IS NULL") >= 100)
      isAway.withLock { $0 = false }
      try await eventually("all mails") { harness.mails.sent.count == 200 }
    }
  }

  @Test func `stays open for the others while one mail fails`() async throws {
    let harness = try Harness()
    try await harness.run(logLevel: .error) { client in
      for index in 0..<50 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      harness.mails.fail { $0.recipient == "user0@example.com" ? .unavailable(reason: "falls silent at this one") : nil }
      for index in 0..<50 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await eventually("the 49 others") { harness.mails.sent.count == 49 }
    }
  }

  @Test func `spaces mails evenly where a rate is set`() async throws {
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
    // Nineteen hundredths of a second lie between twenty mails; the machine may add to that, and not take away.
    #expect(sorted.count == 20 && last.timeIntervalSince(first) >= 0.185)
  }

  @Test func `gives back at the end what it has not begun, for the next start`() async throws {
    let harness = try Harness()
    let release = Recorder()
    harness.mails.hold { while release.lines.isEmpty { try? await Task.sleep(for: .milliseconds(5)) } }
    try await harness.run(["EMAIL_CONNECTIONS": "1"], logLevel: .error) { client in
      for index in 0..<10 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      for index in 0..<10 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await eventually("a mail under way") { harness.mails.tried == 1 }
      // The one under way ends well after the service was told to.
      Task {
        try await Task.sleep(for: .milliseconds(300))
        release.add("now")
      }
    }
    // None of the rows is on a lease, which would hold its mail up after the next start.
    #expect(harness.mails.sent.count == 1)
    let now = Int64(Date().timeIntervalSince1970 * 1000) + 100
    #expect(try harness.count("SELECT count(*) FROM password_reset_outbox WHERE due_at <= \(now)") == 9)
  }

  @Test func `keeps the rate after a server that stood still`() async throws {
    let harness = try Harness()
    let times = Mutex<[Date]>([])
    let isFirst = Mutex(true)
    harness.mails.hold {
      let first = isFirst.withLock { value in
        defer { value = false }
        return value
      }
      if first { try? await Task.sleep(for: .milliseconds(500)) }
      times.withLock { $0.append(Date()) }
    }
    try await harness.run(["EMAIL_RATE_LIMIT": "50/s", "EMAIL_CONNECTIONS": "1"], logLevel: .error) { client in
      for index in 0..<10 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      for index in 0..<10 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await harness.drained()
    }
    let sorted = times.withLock { $0.sorted() }
    // Nine that waited are still a fiftieth of a second apart; the machine may add to that, and not take away.
    #expect(sorted.count == 10 && sorted[9].timeIntervalSince(sorted[1]) >= 0.15)
  }

  @Test func `is not closed by one mail that fails, however often`() async throws {
    let harness = try Harness()
    try await harness.run(["EMAIL_CONNECTIONS": "1"], logLevel: .error) { client in
      for name in ["bad", "good"] { try await harness.addUser(name, email: "\(name)@example.com") }
      harness.mails.fail { $0.recipient == "bad@example.com" ? .unavailable(reason: "69") : nil }
      _ = try await client.requestReset(email: "bad@example.com")
      try await eventually("many tries") { harness.mails.tried >= 12 }
      _ = try await client.requestReset(email: "good@example.com")
      _ = try await harness.link(to: "good@example.com")
    }
  }

  @Test func `sends no mail whose row was deleted while it waited`() async throws {
    let harness = try Harness()
    try await harness.run(["EMAIL_CONNECTIONS": "1"], policy: .oneAfterTheOther, logLevel: .error) { client in
      for index in 0..<4 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      let release = Recorder()
      harness.mails.hold { while release.lines.isEmpty { try? await Task.sleep(for: .milliseconds(5)) } }
      for index in 0..<4 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await eventually("a mail under way and the others in hand") {
        try harness.mails.tried == 1 && harness.count("SELECT count(*) FROM password_reset_outbox WHERE attempts > 0") == 4
      }
      try harness.execute("DELETE FROM password_reset_outbox")
      // The next renewal tells.
      try await Task.sleep(for: .milliseconds(400))
      release.add("now")
      try await eventually("the one that was under way") { harness.mails.sent.count == 1 }
      try await harness.addUser("last", email: "last@example.com")
      _ = try await client.requestReset(email: "last@example.com")
      _ = try await harness.link(to: "last@example.com")
      #expect(harness.mails.sent.count == 2)
    }
  }

  @Test func `sends no mail twice because the database was locked when it was sent`() async throws {
    let harness = try Harness()
    try await harness.run(logLevel: .error) { client in
      for index in 0..<4 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      let release = Recorder()
      harness.mails.hold { while release.lines.isEmpty { try? await Task.sleep(for: .milliseconds(5)) } }
      for index in 0..<4 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      try await eventually("mails under way") { harness.mails.tried == 4 }
      // Longer than a statement waits, and than a lease lasts.
      try await harness.lockDatabase(for: .seconds(8)) { release.add("now") }
      try await harness.drained()
      #expect(harness.mails.sent.count == 4)
      #expect(try harness.count("SELECT count(*) FROM password_reset_audit WHERE event = 'mailed'") == 4)
    }
  }
}
