import Credentials
import Foundation
import HummingbirdTesting
import PasswordReset
import SQLiteStore
import Synchronization
import Testing

@testable import App

/// Webhooks through the whole service, with a receiver that the test commands.
@Suite struct `A webhook` {
  private let harness: Harness

  init() throws { harness = try Harness() }

  /// Sets the first user's password by a link, and returns the user.
  private func reset(_ client: any TestClientProtocol, _ name: String = "alice") async throws -> UserID {
    let user = try await harness.addUser(name, email: "\(name)@example.com")
    _ = try await client.requestReset(email: "\(name)@example.com")
    #expect(try await client.setPassword(harness.link(to: "\(name)@example.com"), "new-Password-2").status == 200)
    return user
  }

  @Test func `reports a completed reset with the user's key and the request's id`() async throws {
    let receiver = FlakyReceiver()
    try await harness.run(.webhooks, receiver: receiver) { client in
      let user = try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let reply = try await client.setPassword(harness.link(), "new-Password-2")
      try await eventually("the webhook") { receiver.accepted.count == 1 }
      let message = try #require(receiver.accepted.first)
      #expect(message.type == "password_reset.completed" && message.userID == user)
      #expect(message.requestID == reply.headers[.requestID])
      try await harness.drained()
    }
    #expect(harness.log.lines.contains { $0.contains("Job done") && $0.contains("password_reset.completed") })
  }

  @Test func `is not made by a reset that does not happen`() async throws {
    let receiver = FlakyReceiver()
    try await harness.run(.webhooks, receiver: receiver) { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      #expect(try await client.setPassword(link, "short").status == 400)
      let replies = try await withThrowingTaskGroup(of: Int.self) { group in
        for index in 0..<5 { group.addTask { try await client.setPassword(link, "new-Password-\(index)").status } }
        return try await group.reduce(into: [Int]()) { $0.append($1) }
      }
      #expect(replies.count { $0 == 200 } == 1)
      try await harness.drained()
      #expect(receiver.accepted.count == 1)
    }
  }

  @Test func `is not made without a receiver or for an event that is not subscribed`() async throws {
    try await harness.run { client in
      _ = try await reset(client)
      #expect(try harness.count("SELECT count(*) FROM password_reset_outbox WHERE kind = 'webhook'") == 0)
    }
    let receiver = FlakyReceiver()
    try await harness.run(.webhooks(["WEBHOOK_EVENTS": "password_reset.mail_failed"]), receiver: receiver) { client in
      _ = try await reset(client, "bob")
      try await harness.drained()
      #expect(receiver.tried == 0)
    }
  }

  @Test func `keeps its id over all attempts, and its time`() async throws {
    let receiver = FlakyReceiver()
    receiver.fail { _ in WebhookError("500", isOutage: false) }
    try await harness.run(.webhooks, receiver: receiver) { client in
      _ = try await reset(client)
      try await eventually("several attempts") { receiver.tried >= 3 }
      receiver.fail { _ in nil }
      try await harness.drained()
    }
    #expect(Set(receiver.messages.map(\.id)).count == 1 && Set(receiver.messages.map(\.time)).count == 1)
    #expect(receiver.accepted.count == 1)
  }

  @Test func `reports an email that became a dead letter`() async throws {
    let receiver = FlakyReceiver()
    harness.mails.fail { _ in .permanent(reason: "550 no such mailbox") }
    try await harness.run(.webhooks, receiver: receiver) { client in
      let user = try await harness.addUser()
      let reply = try await client.requestReset(email: "alice@example.com")
      try await eventually("the webhook") { receiver.accepted.count == 1 }
      #expect(receiver.accepted.first?.type == "password_reset.mail_failed" && receiver.accepted.first?.userID == user)
      #expect(receiver.accepted.first?.requestID == reply.headers[.requestID])
    }
  }

  @Test func `reports a request, if the site subscribes to that, once its email was sent`() async throws {
    let receiver = FlakyReceiver()
    let events = ["WEBHOOK_EVENTS": "password_reset.requested"]
    try await harness.run(.webhooks(events), receiver: receiver) { client in
      let users = [try await harness.addUser("a", email: "shared@example.com"), try await harness.addUser("b", email: "shared@example.com")]
      _ = try await client.requestReset(email: "shared@example.com")
      _ = try await client.requestReset(email: "unknown@example.com")
      try await harness.drained()
      #expect(Set(receiver.accepted.map(\.userID)) == Set(users) && receiver.accepted.count == 2)
      #expect(receiver.accepted.allSatisfy { $0.type == "password_reset.requested" })
    }
  }

  @Test func `adds no statement on the users table to a request`() async throws {
    func statements(_ environment: [String: String], _ receiver: FlakyReceiver?) async throws -> [String] {
      let harness = try Harness()
      try await harness.run(environment, policy: .asleep, receiver: receiver) { client in
        try await harness.addUser()
        let before = harness.statements.lines.count
        _ = try await client.requestReset(email: "alice@example.com")
        harness.log.add("\(before)")
      }
      let before = try #require(harness.log.lines.compactMap { Int($0) }.first)
      return harness.statements.lines.dropFirst(before).filter { $0.contains("INSERT") || $0.contains("auth_user") }
    }
    let all = WebhookEvent.allCases.map(\.rawValue).joined(separator: ",")
    let with = try await statements(.webhooks(["WEBHOOK_EVENTS": all]), FlakyReceiver())
    #expect(try await with == statements([:], nil))
    #expect(with.allSatisfy { !$0.contains("auth_user") })
  }

  @Test func `delays no email while its receiver hangs`() async throws {
    let receiver = FlakyReceiver()
    let isReleased = Mutex(false)
    receiver.hold { while !isReleased.withLock(\.self), !Task.isCancelled { try? await Task.sleep(for: .milliseconds(5)) } }
    try await harness.run(.webhooks, logLevel: .error, receiver: receiver) { client in
      for index in 0..<10 { _ = try await reset(client, "early\(index)") }
      try await eventually("all slots to hang") { receiver.tried == OutboxPolicy.webhookConnections }
      for index in 0..<20 { try await harness.addUser("user\(index)", email: "user\(index)@example.com") }
      for index in 0..<20 { _ = try await client.requestReset(email: "user\(index)@example.com") }
      for index in 0..<20 { _ = try await harness.link(to: "user\(index)@example.com") }
      #expect(receiver.accepted.isEmpty)
      isReleased.withLock { $0 = true }
      try await harness.drained()
      #expect(receiver.accepted.count == 10)
    }
  }

  @Test func `is sent while the mail server is away, and emails while the receiver is away`() async throws {
    let receiver = FlakyReceiver()
    // An outage that lasts: no probe succeeds, and the next one would come after hours.
    var policy = OutboxPolicy.quick
    (policy.maxProbeInterval, policy.initialBackoff) = (3600, 3600)
    try await harness.run(.webhooks, policy: policy, logLevel: .error, receiver: receiver) { client in
      for name in ["a", "b", "c", "d", "e", "f"] { try await harness.addUser(name, email: "\(name)@example.com") }
      var links: [String] = []
      for name in ["a", "b"] {
        _ = try await client.requestReset(email: "\(name)@example.com")
        links.append(try await harness.link(to: "\(name)@example.com"))
      }
      // Each of two jobs or more fails, which opens the breaker of the emails.
      harness.mails.fail { _ in .unavailable(reason: "away") }
      for name in ["c", "d", "e", "f"] { _ = try await client.requestReset(email: "\(name)@example.com") }
      try await eventually("the mail server's breaker to open") { harness.mails.tried == 6 }
      #expect(try await client.setPassword(links[0], "new-Password-2").status == 200)
      try await eventually("the webhook") { receiver.accepted.count == 1 }
    }
    let other = try Harness()
    let away = FlakyReceiver()
    away.fail { _ in WebhookError("away", isOutage: true) }
    try await other.run(.webhooks, policy: policy, logLevel: .error, receiver: away) { client in
      for index in 0..<6 {
        try await other.addUser("user\(index)", email: "user\(index)@example.com")
        _ = try await client.requestReset(email: "user\(index)@example.com")
        #expect(try await client.setPassword(other.link(to: "user\(index)@example.com"), "new-Password-2").status == 200)
      }
      try await eventually("the receiver's breaker to open") { away.tried == OutboxPolicy.webhookConnections }
      try await other.addUser("late", email: "late@example.com")
      _ = try await client.requestReset(email: "late@example.com")
      _ = try await other.link(to: "late@example.com")
    }
  }

  @Test func `that fails for a day becomes a dead letter, which an operator can retry`() async throws {
    let receiver = FlakyReceiver()
    receiver.fail { _ in WebhookError("the receiver answered with status 500", isOutage: false) }
    try await harness.run(.webhooks, receiver: receiver) { client in
      _ = try await reset(client)
      // Otherwise the notice could become a dead letter too, which is reported by a second webhook.
      try await eventually("an attempt, and the notice") {
        try receiver.tried >= 1 && harness.count("SELECT count(*) FROM password_reset_outbox WHERE kind <> 'webhook'") == 0
      }
      harness.clock.advance(by: 25 * 3600)
      try await harness.drained()
      let store = try SQLiteStore(path: harness.path)
      let row = try #require(try await store.outboxRows(after: nil, limit: 5, deadLettersOnly: true).first)
      #expect(row.kind == "webhook" && row.identifier?.hasPrefix("password_reset.completed msg_") == true)
      receiver.fail { _ in nil }
      #expect(try await store.retryOutbox(.ids([row.id]), at: harness.clock.now) == 1)
      try await harness.drained()
      #expect(receiver.accepted.count == 1)
    }
  }

  @Test func `waits for its receiver's Retry-After, but not longer than other webhooks wait at most`() async throws {
    let receiver = FlakyReceiver()
    receiver.fail { _ in WebhookError("429", isOutage: false, retryAfter: 30 * 86400) }
    var policy = OutboxPolicy.quick
    policy.maxBackoff = 500
    try await harness.run(.webhooks, policy: policy, receiver: receiver) { client in
      _ = try await reset(client)
      try await eventually("an attempt") { try harness.count("SELECT count(*) FROM password_reset_outbox WHERE last_error = '429'") == 1 }
      let due = try harness.count("SELECT due_at FROM password_reset_outbox WHERE kind = 'webhook'")
      let wait = Double(due) / 1000 - Date().timeIntervalSince1970
      #expect(wait > 100 && wait <= 501)
    }
  }

  @Test func `is released at shutdown, for the next start`() async throws {
    let receiver = FlakyReceiver()
    let isEnding = Mutex(false)
    receiver.hold { [unowned harness] in
      try? await eventually("the others to be released") {
        try isEnding.withLock(\.self)
          && harness.count("SELECT count(*) FROM password_reset_outbox WHERE kind = 'webhook' AND owner IS NULL") == 10
            - OutboxPolicy.webhookConnections
      }
    }
    try await harness.run(.webhooks, logLevel: .error, receiver: receiver) { client in
      for index in 0..<10 { _ = try await reset(client, "user\(index)") }
      try await eventually("leases on all") {
        try harness.count("SELECT count(*) FROM password_reset_outbox WHERE kind = 'webhook' AND owner IS NOT NULL") == 10
      }
      isEnding.withLock { $0 = true }
    }
    #expect(receiver.accepted.count == OutboxPolicy.webhookConnections)
    receiver.hold {}
    try await harness.run(.webhooks, logLevel: .error, receiver: receiver) { _ in try await harness.drained() }
    #expect(receiver.accepted.count == 10 && Set(receiver.accepted.map(\.id)).count == 10)
  }

  @Test func `waits for its receiver if WEBHOOK_URL is no longer set`() async throws {
    let receiver = FlakyReceiver()
    receiver.fail { _ in WebhookError("away", isOutage: true) }
    try await harness.run(.webhooks, receiver: receiver) { client in _ = try await reset(client) }
    try await harness.run { _ in
      try await eventually("the reason") {
        try harness.count("SELECT count(*) FROM password_reset_outbox WHERE last_error LIKE 'WEBHOOK_URL is not set%'") == 1
      }
    }
    receiver.fail { _ in nil }
    try await harness.run(.webhooks, receiver: receiver) { _ in try await harness.drained() }
    #expect(receiver.accepted.count == 1)
  }
}

/// Keeps webhooks, or fails as the test demands.
final class FlakyReceiver: WebhookBackend {
  private let kept = Mutex<[(message: WebhookMessage, isAccepted: Bool)]>([])
  private let failure = Mutex<@Sendable (WebhookMessage) -> WebhookError?>({ _ in nil })
  private let pause = Mutex<@Sendable () async -> Void>({})
  private let attempts = Mutex(0)

  var messages: [WebhookMessage] { kept.withLock { $0.map(\.message) } }
  var accepted: [WebhookMessage] { kept.withLock { $0.filter(\.isAccepted).map(\.message) } }
  var tried: Int { attempts.withLock(\.self) }

  func fail(_ failure: @escaping @Sendable (WebhookMessage) -> WebhookError?) { self.failure.withLock { $0 = failure } }

  /// Sets a function that each webhook waits for before it is answered.
  func hold(_ pause: @escaping @Sendable () async -> Void) { self.pause.withLock { $0 = pause } }

  func send(_ message: WebhookMessage) async throws(WebhookError) {
    attempts.withLock { $0 += 1 }
    await pause.withLock { $0 }()
    let error = failure.withLock { $0 }(message)
    kept.withLock { $0.append((message, error == nil)) }
    if let error { throw error }
  }

  func stop() {}
}

extension [String: String] {
  /// The settings of a webhook.
  static let webhooks = webhooks([:])

  static func webhooks(_ others: [String: String]) -> [String: String] {
    let secret = "whsec_" + Data(repeating: 7, count: 32).base64EncodedString()
    return ["WEBHOOK_URL": "https://example.com/webhooks", "WEBHOOK_SECRET": secret].merging(others) { $1 }
  }
}
