import Foundation
import HummingbirdTesting
import PasswordReset
import Synchronization
import Testing

@testable import App

/// A reset of one user's password on a database that fails at one point, and what must be true afterwards.
///
/// The database has the users alice and bob, and the outbox is empty.
struct FaultyReset: Sendable {
  static let passwords = ["first-Password-1", "second-Password-2", "third-Password-3"]

  let database: any FaultyDatabase
  /// The path of a valid link of alice.
  let link: String
  let point: Int
  /// Whether the fault lasts until the service has stopped.
  let lasts: Bool
  /// Whether a change that was answered with 503 may have been made.
  let mayBeUnknown: Bool
  private let name: String
  private let receiver = FlakyReceiver()

  init(_ database: any FaultyDatabase, link: String, point: Int, fault: any FaultKind, mayBeUnknown: Bool, _ flow: String) {
    self.database = database
    self.link = link
    self.point = point
    lasts = fault.lasts
    self.mayBeUnknown = mayBeUnknown
    name = "\(flow), \(fault), point \(point)"
  }

  private var comment: Comment { "\(name): \(database.failure ?? "not reached")" }

  private var harness: Harness { database.harness }

  // MARK: - The flows

  /// Requests an email. An accepted request is mailed in the end, and a refused one is not, unless that is unknown.
  func request(_ role: ProcessRole) async throws -> (isReached: Bool, answer: String) {
    let status = try await first(role, jobs: 1) { client in try await client.requestReset(email: "ALICE@example.com").status }
    #expect(status == 202 || status == 503, comment)
    try await restart { client in
      if status == 503 { try await requestEmail(client) }
    }
    let emails = harness.mails.sent.count { $0.resetURL != nil }
    #expect(emails >= 1, comment)
    try await expectEnd(isChanged: false, isRefused: status == 503)
    return result(status)
  }

  /// Checks the link. It stays as valid as it is.
  func check() async throws -> (isReached: Bool, answer: String) {
    let status = try await first(.web, jobs: 0) { client in
      let reply = try await client.get(link)
      #expect(reply.status == 503 || (try? reply.json["validlink"] as? Bool) == true, comment)
      return reply.status
    }
    try await restart { client in try await setPassword(0, client, expecting: 200) }
    try expectPassword(Self.passwords[0])
    try await expectEnd(isChanged: true)
    return result(status)
  }

  /// Sets a password, and if that is refused, another one.
  func confirm(_ role: ProcessRole) async throws -> (isReached: Bool, answer: String) {
    let retried = Mutex<Int?>(nil)
    let status = try await first(role, jobs: 2) { client in
      try await client.setPassword(link, Self.passwords[0]).status
    } then: { client, status in
      guard status == 503 else { return }
      let status = try await retry(client)
      retried.withLock { $0 = status }
    }
    #expect(status == 200 || status == 503, comment)
    var second = retried.withLock(\.self)
    if status == 503, second == nil {
      try expectNothingFollows()
      second = try await restarting { client in try await retry(client) }
    }
    try await restart { client in
      let isValid = try await client.get(link).json["validlink"] as? Bool
      #expect(isValid == false, comment)
      try await setPassword(2, client, expecting: 400)
    }
    // A refused change that was made has used up the link.
    let wasMade = second == 400
    if wasMade { #expect(mayBeUnknown, "\(comment): the change was refused and made") }
    try expectPassword(Self.passwords[status == 200 || wasMade ? 0 : 1])
    try await expectEnd(isChanged: true)
    return result(status, wasMade ? "but made" : "")
  }

  /// Starts the service with three jobs in the outbox. It starts and does them, or does not start; then the next start does them.
  func start() async throws -> (isReached: Bool, answer: String) {
    try await run(.web) { client in
      try await requestEmail(client)
      try await setPassword(0, client, expecting: 200)
    }
    try await database.closed()
    harness.clock.advance(by: 60)
    database.fail(at: point)
    let hasStarted = Mutex(false)
    do {
      try await run(.complete) { _ in
        hasStarted.withLock { $0 = true }
        try await eventually("the worker, or the fault (\(comment))") { database.failure != nil || jobsDone >= 3 }
        if !lasts { try await eventually("the worker after the fault (\(comment))") { jobsDone >= 3 } }
      }
    } catch is StoreOpenError {}
    try await database.closed()
    database.repair()
    try database.expectIntact(comment)
    try await restart { _ in }
    #expect(harness.mails.sent.contains { $0.resetURL != nil }, comment)
    try expectPassword(Self.passwords[0])
    try await expectEnd(isChanged: true)
    return result(200, hasStarted.withLock(\.self) ? "started" : "not started")
  }

  // MARK: - Running the service

  /// Runs the service, lets it fail during `act`, and stops it.
  /// - Parameters:
  ///   - jobs: how many jobs the worker does afterwards if `act` succeeds.
  ///   - then: what follows while the service still runs, unless the fault lasts.
  private func first(
    _ role: ProcessRole, jobs: Int, _ act: @escaping @Sendable (any TestClientProtocol) async throws -> Int,
    then: @escaping @Sendable (any TestClientProtocol, Int) async throws -> Void = { _, _ in }
  ) async throws -> Int {
    let answer = Mutex(0)
    try await run(role) { client in
      // The worker has looked at the outbox, so that new jobs are passed to it in memory.
      if role == .complete { try await eventually("the worker") { harness.statements.lines.contains { $0.contains("owner") } } }
      database.fail(at: point)
      let status = try await act(client)
      answer.withLock { $0 = status }
      if role == .complete, status != 503 {
        try await eventually("the worker, or the fault (\(comment))") { database.failure != nil || jobsDone >= jobs }
        // It recovers without a restart.
        if !lasts { try await eventually("the worker after the fault (\(comment))") { jobsDone >= jobs } }
      }
      if !lasts { try await then(client, status) }
    }
    try await database.closed()
    database.repair()
    try database.expectIntact(comment)
    return answer.withLock(\.self)
  }

  private var jobsDone: Int { harness.log.lines.count { $0.contains("Job done") } }

  private func run(_ role: ProcessRole, _ test: @escaping @Sendable (any TestClientProtocol) async throws -> Void) async throws {
    // All points use one link, and trying all of them takes more than an hour.
    let settings = database.settings.merging(.webhooks) { $1 }.merging(["PASSWORD_RESET_TIMEOUT": "259200"]) { $1 }
    try await harness.run(settings, policy: .recovering, receiver: receiver, role: role, test)
  }

  /// Starts the service on the same database, and lets the worker finish.
  private func restart(_ test: @escaping @Sendable (any TestClientProtocol) async throws -> Void) async throws {
    // The leases of the first process have run out.
    harness.clock.advance(by: 60)
    try await run(.complete) { client in
      try await test(client)
      try await eventually("an empty outbox (\(comment))") { try database.text("SELECT count(*) FROM \(database.tables)outbox") == "0" }
    }
    try await database.closed()
  }

  /// Does the same, and returns what the test returns.
  private func restarting(_ test: @escaping @Sendable (any TestClientProtocol) async throws -> Int) async throws -> Int {
    let result = Mutex(0)
    try await restart { client in
      let status = try await test(client)
      result.withLock { $0 = status }
    }
    return result.withLock(\.self)
  }

  private func requestEmail(_ client: any TestClientProtocol) async throws {
    let status = try await client.requestReset(email: "ALICE@example.com").status
    #expect(status == 202, comment)
  }

  private func setPassword(_ index: Int, _ client: any TestClientProtocol, expecting expected: Int) async throws {
    let status = try await client.setPassword(link, Self.passwords[index]).status
    #expect(status == expected, comment)
  }

  /// Sets the second password as soon as the service can, and returns the status.
  private func retry(_ client: any TestClientProtocol) async throws -> Int {
    let deadline = ContinuousClock.now + .seconds(60)
    while true {
      let isValid = try await client.get(link).json["validlink"] as? Bool
      let status = try await client.setPassword(link, Self.passwords[1]).status
      if status != 503 {
        #expect(isValid == nil || isValid == (status == 200), comment)
        #expect(status == 200 || status == 400, comment)
        return status
      }
      try #require(ContinuousClock.now < deadline, comment)
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  // MARK: - What must be true

  private func expectPassword(_ password: String) throws {
    let hash = try database.text("SELECT password FROM auth_user WHERE username = 'alice'")
    #expect(harness.hasher.verify(password, encoded: hash), comment)
  }

  /// A change that was not made has no notice, no webhook and no audit record.
  private func expectNothingFollows() throws {
    let hash = try database.text("SELECT password FROM auth_user WHERE username = 'alice'")
    guard harness.hasher.verify(Harness.oldPassword, encoded: hash) else { return }
    #expect(try database.text("SELECT count(*) FROM \(database.tables)outbox") == "0", comment)
    #expect(try database.text("SELECT count(*) FROM \(database.tables)audit WHERE event = 'reset'") == "0", comment)
    #expect(harness.mails.sent.isEmpty && receiver.messages.isEmpty, comment)
  }

  /// - Parameter isRefused: whether the first request was refused and the second one accepted.
  private func expectEnd(isChanged: Bool, isRefused: Bool = false) async throws {
    #expect(harness.mails.sent.allSatisfy { $0.recipient == "alice@example.com" }, comment)
    let notices = harness.mails.sent.filter { $0.resetURL == nil }
    // An email may arrive twice, with one id.
    #expect(Set(notices.map(\.messageID)).count == (isChanged ? 1 : 0), comment)
    #expect(Set(receiver.accepted.map(\.id)).count == (isChanged ? 1 : 0), comment)
    #expect(try database.text("SELECT count(*) FROM \(database.tables)audit WHERE event = 'reset'") == (isChanged ? "1" : "0"), comment)
    if isRefused, !mayBeUnknown { #expect(Set(harness.mails.sent.map(\.messageID)).count == 1, "\(comment): a refused request was mailed") }
    try database.expectIntact(comment)
  }

  /// Returns whether the fault was reached, and how the service answered.
  private func result(_ status: Int, _ detail: String = "") -> (isReached: Bool, answer: String) {
    (database.failure != nil, detail.isEmpty ? "\(status)" : "\(status) \(detail)")
  }
}
