import Credentials
import Foundation
import PasswordReset
import TestSupport
import Testing

@testable import PostgresStore

/// What several instances on one PostgreSQL database share.
@Suite struct `Two instances on PostgreSQL` {
  private let url: String
  private let stores: [PostgresStore]

  init() throws {
    let url = try PostgresCluster.newDatabase()
    self.url = url
    stores = try (0..<2).map { _ in try PostgresStore(PostgresAddress(url: url)) }
    try stores[0].migrate()
  }

  @Test func `count the requests of a client together`() async throws {
    let limits = [RateLimit(count: 20, seconds: 3600), RateLimit(count: 500, seconds: 86400)]
    let stores = stores
    let decisions = try await withThrowingTaskGroup { group in
      for index in 0..<60 { group.addTask { try await stores[index % 2].charge("client", in: "requests", limits) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(decisions.filter { $0.retryAfter == nil }.map(\.quota.remaining).sorted() == Array(0..<20))
    // Another request is possible when a twentieth of the hour has passed.
    #expect(decisions.compactMap(\.retryAfter).allSatisfy { (170...180).contains($0) })
    #expect(decisions.allSatisfy { $0.quota.limit == limits[0] })
    // Other clients and other routes have separate quotas.
    #expect(try await stores[0].charge("another", in: "requests", limits).quota.remaining == 19)
    #expect(try await stores[1].charge("client", in: "links", limits).quota.remaining == 19)
  }

  @Test func `decide as one process does in memory`() async throws {
    let limits = [RateLimit(count: 3, seconds: 60), RateLimit(count: 5, seconds: 3600)]
    var full = [0.0, 0.0]
    for request in 0..<6 {
      let expected = LimitDecision.charge(&full, limits, at: 0)
      let decision = try await stores[request % 2].charge("client", in: "requests", limits)
      #expect(decision.quota.limit == expected.quota.limit && decision.quota.remaining == expected.quota.remaining)
      #expect((decision.retryAfter == nil) == (expected.retryAfter == nil))
    }
  }

  @Test func `let a client continue when its quota is back, and forget quotas that are full`() async throws {
    let limit = [RateLimit(count: 1, seconds: 1)]
    #expect(try await stores[0].charge("client", in: "links", limit).retryAfter == nil)
    #expect(try await stores[1].charge("client", in: "links", limit).retryAfter == 1)
    try await eventually("the quota") { try await stores[1].charge("client", in: "links", limit).retryAfter == nil }
    _ = try await stores[0].charge("slow", in: "links", [RateLimit(count: 1, seconds: 3600)])
    let count = "SELECT count(*) FROM password_reset.client_limit"
    #expect(try PostgresCluster.sql(count, url: url) == "2")
    try await eventually("the purge") {
      try await stores[0].purgeClients()
      return try PostgresCluster.sql(count, url: url) == "1"
    }
  }

  @Test func `keep counting when the limits are changed, or the clock of the server is set back`() async throws {
    let limit = RateLimit(count: 2, seconds: 60)
    for _ in 0..<3 { _ = try await stores[0].charge("client", in: "links", [limit]) }
    let more = try await stores[1].charge("client", in: "links", [limit, RateLimit(count: 100, seconds: 3600)])
    #expect(more.retryAfter.map { (25...30).contains($0) } == true)
    try PostgresCluster.sql("UPDATE password_reset.client_limit SET full_at = ARRAY[4e9::float8, 4e9]", url: url)
    let ahead = try await stores[1].charge("client", in: "links", [limit])
    #expect(ahead.retryAfter.map { (25...30).contains($0) } == true)
  }

  @Test func `tell each other of new jobs that anyone may claim`() async throws {
    let notifications = try #require(stores[1].jobNotifications()[.email])
    var iterator = notifications.makeAsyncIterator()
    // The first value says that the listener is connected.
    await iterator.next()
    let now = Date()
    _ = try await stores[0].enqueue(.request(at: now, due: now.addingTimeInterval(60), owner: "other"), audit: AuditRecord(.requested))
    _ = try await stores[0].enqueue(.request(at: now), audit: AuditRecord(.requested))
    await iterator.next()
    #expect(try await stores[1].claim(.email, limit: 10, owner: "me", at: now, leaseEnd: now.addingTimeInterval(60)).count == 1)
  }

  @Test func `do not tell themselves of new jobs, nor the worker of the other channel`() async throws {
    let streams = stores[1].jobNotifications()
    var (emails, webhooks) = (try #require(streams[.email]).makeAsyncIterator(), try #require(streams[.webhook]).makeAsyncIterator())
    await emails.next()
    await webhooks.next()
    let notified = Recorder()
    let waiting = Task { [emails] in
      var emails = emails
      while await emails.next() != nil { notified.add("email") }
    }
    for _ in 0..<5 { _ = try await stores[1].enqueue(.request(), audit: AuditRecord(.requested)) }
    let webhook = WebhookEvent.completed.makeJob(userID: nil, requestID: "r", at: Date())
    for _ in 0..<5 { _ = try await stores[0].enqueue(webhook, audit: AuditRecord(.requested)) }
    // The server delivers notifications in order.
    await webhooks.next()
    #expect(notified.lines.isEmpty)
    _ = try await stores[0].enqueue(.request(), audit: AuditRecord(.requested))
    try await eventually("the notification of another instance") { !notified.lines.isEmpty }
    waiting.cancel()
  }

  @Test func `learn of jobs in any channel from a release that names none`() async throws {
    let streams = stores[1].jobNotifications()
    for channel in JobChannel.allCases {
      var stream = try #require(streams[channel]).makeAsyncIterator()
      await stream.next()
    }
    try PostgresCluster.sql("NOTIFY password_reset_jobs", url: url)
    for channel in JobChannel.allCases {
      var stream = try #require(streams[channel]).makeAsyncIterator()
      await stream.next()
    }
  }

  @Test func `set no password after the other has cancelled the link`() async throws {
    let link = TokenTime(seconds: 800_000_000)
    for round in 0..<20 {
      let id = try #require(try await stores[0].addUser(username: "u\(round)", email: "u\(round)@example.com", password: "x", at: Date()))
      let user = try #require(try await stores[0].user(id: id))
      var change = PasswordChange(user: user, newHash: "y", event: .reset, requestID: "r", jobs: [])
      change.linkTime = link
      let (stores, first) = (stores, change)
      async let isSet = stores[0].setPassword(first, at: Date()) != nil
      _ = try await stores[1].cancelLinks(LinkCancellation(userID: id, through: link, requestID: "r"), at: Date())
      let password = try await stores[1].user(id: id)?.password
      #expect(try await isSet == (password == "y"))
      #expect(try await stores[0].user(id: id)?.password == password)
    }
  }

  @Test func `see a cancellation that was committed while the change waited for it`() async throws {
    let id = try #require(try await stores[0].addUser(username: "a", email: "a@example.com", password: "x", at: Date()))
    let user = try #require(try await stores[0].user(id: id))
    let link = TokenTime(seconds: 800_000_000)
    // The cancellation holds its lock, and a statement that began before the commit sees the state from before it.
    let session = try PostgresSession(PostgresAddress(url: url))
    _ = try session.query("BEGIN")
    _ = try session.rows(
      of: Command(stores[1].users.cancelLinks, id.text, link.milliseconds, 0, "cancelled", id.text, "r", String?.none, "[]"))
    var change = PasswordChange(user: user, newHash: "y", event: .reset, requestID: "r", jobs: [])
    change.linkTime = link
    let (stores, blocked) = (stores, change)
    async let jobs = stores[0].setPassword(blocked, at: Date())
    try await eventually("the wait for the lock") { try PostgresCluster.sql("SELECT count(*) FROM pg_locks WHERE NOT granted", url: url) != "0" }
    _ = try session.query("COMMIT")
    #expect(try await jobs == nil)
    #expect(try await stores[0].user(id: id)?.password == "x")
  }

  @Test func `show a follower of the audit lines that are committed in another order than their ids`() async throws {
    var follower = try await AuditFollower(stores[0])
    let session = try PostgresSession(PostgresAddress(url: url))
    _ = try session.query("BEGIN")
    _ = try session.query("INSERT INTO password_reset.audit (at, event, request_id) VALUES (1, 'reset', 'first')")
    try await stores[1].append([AuditLine(AuditRecord(.requested), requestID: "second", at: Date())])
    #expect(try await follower.next().map(\.requestID) == ["second"])
    #expect(try await follower.next().isEmpty)
    _ = try session.query("COMMIT")
    #expect(try await follower.next().map(\.requestID) == ["first"])
    #expect(try await follower.next().isEmpty)
  }

  @Test func `need privileges on each table of the schema`() throws {
    let tables = try PostgresCluster.sql(
      "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'password_reset'::regnamespace", url: url
    )
    #expect(tables == Privileges.ownTables.map(\.table).sorted().joined(separator: ","))
  }
}
