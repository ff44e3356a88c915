import Credentials
import Foundation
import HTTPTypes
import HummingbirdTesting
import Localization
import PasswordReset
import PostgresStore
import SQLiteStore
import Testing

/// A database of either kind.
enum TestDatabase: CaseIterable {
  case sqlite, postgreSQL

  /// Returns the URL of a new database, or `nil` for that of the harness.
  func newURL() throws -> String? { self == .postgreSQL ? try PostgresCluster.newDatabase() : nil }
}

@Suite struct `A cancel link` {
  private let harness: Harness

  init() throws { harness = try Harness() }

  /// Runs the service with a page for cancel links.
  private func run(
    on database: TestDatabase, _ environment: [String: String] = [:], _ test: @Sendable (any TestClientProtocol, any Store) async throws -> Void
  ) async throws {
    var settings = ["CANCEL_URL": "https://example.com/cancel/{uid}/{token}"]
    settings["DATABASE_URL"] = try database.newURL()
    settings.merge(environment) { $1 }
    let url = settings["DATABASE_URL"]
    try await harness.run(settings) { client in
      let store: any Store
      if let url { store = try PostgresStore(PostgresAddress(url: url)) } else { store = try SQLiteStore(path: harness.path) }
      try await test(client, store)
    }
  }

  @discardableResult private func addUser(_ name: String = "alice", to store: any Store) async throws -> UserID {
    let hash = try harness.hasher.encode(Harness.oldPassword)
    return try #require(await store.addUser(username: name, email: "\(name)@example.com", password: hash, at: Date()))
  }

  /// Requests an email, and returns the paths of its two links.
  /// - Parameter time: stops the clock at this time after the request.
  private func links(
    _ client: any TestClientProtocol, to name: String = "alice", count: Int = 1, frozenAt time: Date? = nil
  ) async throws -> (reset: String, cancel: String) {
    #expect(try await client.requestReset(email: "\(name)@example.com").status == 202)
    if let time { harness.clock.freeze(at: time) }
    let reset = try await harness.link(to: "\(name)@example.com", count: count)
    let email = try #require(harness.mails.sent.last { $0.recipient == "\(name)@example.com" && $0.resetURL != nil })
    return (reset, try path(email))
  }

  private func path(_ email: EmailMessage) throws -> String {
    let url = try #require(email.cancelURL)
    #expect(email.body.contains("\n\(url)\n") && email.html?.contains("href=\"\(url)\"") == true)
    return "/password-reset" + url.dropFirst("https://example.com/cancel".count) + "/cancel"
  }

  private func isValid(_ link: String, _ client: any TestClientProtocol) async throws -> Bool {
    try await client.get(link).json["validlink"] as? Bool == true
  }

  private func events(_ store: any Store) async throws -> [String] { try await store.auditRows(AuditFilter(), limit: 100).map(\.event) }

  @Test(arguments: TestDatabase.allCases) func `ends all links of its user from before, and no others`(_ database: TestDatabase) async throws {
    try await run(on: database) { client, store in
      let id = try await addUser(to: store)
      try await addUser("bob", to: store)
      let first = try await links(client)
      let second = try await links(client, count: 2)
      let other = try await links(client, to: "bob")
      let reply = try await client.send(.post, first.cancel)
      #expect(reply.status == 200)
      let key = "If this link is valid, all password reset links that were sent to you before now have stopped working."
      #expect(reply.text == #"{"detail":"\#(key)"}"#)
      for link in [first.reset, second.reset] {
        #expect(try await client.get(link).json["code"] as? String == "invalid_link")
        #expect(try await client.setPassword(link, "a-Fine-pass-77").code == "invalid_link")
      }
      #expect(try await isValid(other.reset, client))
      #expect(try await store.user(id: id).map { harness.hasher.verify(Harness.oldPassword, encoded: $0.password) } == true)
      let audit = try await store.auditRows(AuditFilter(), limit: 100).filter { $0.event == "cancelled" }
      #expect(audit.map(\.userID) == [id])
      #expect(audit.map(\.requestID) == [reply.headers[.requestID]])
    }
  }

  @Test(arguments: TestDatabase.allCases)
  func `lets the user ask for a link at once, in the same second, which works`(_ database: TestDatabase) async throws {
    // The clock moves within one second: a job that the worker has to claim is due some milliseconds after its request.
    @Sendable func time(_ count: Int) -> Date { Date(timeIntervalSince1970: 1_800_000_000.25 + Double(count) / 10) }
    harness.clock.freeze(at: time(0))
    try await run(on: database) { client, store in
      try await addUser(to: store)
      let first = try await links(client, frozenAt: time(1))
      var all = [first.reset]
      for count in 2...4 {
        #expect(try await client.send(.post, first.cancel).status == 200)
        let next = try await links(client, count: count, frozenAt: time(count))
        #expect(try await isValid(next.reset, client))
        all.append(next.reset)
        for dead in all.dropLast() { #expect(try await !isValid(dead, client)) }
      }
      let last = try await harness.link(count: 4)
      #expect(try await client.setPassword(last, "a-Fine-pass-77").status == 200)
    }
  }

  @Test(arguments: TestDatabase.allCases)
  func `in the notice works after an attacker has set the password and signed in`(_ database: TestDatabase) async throws {
    let url = try database.newURL()
    try await run(on: database, url.map { ["DATABASE_URL": $0] } ?? [:]) { client, store in
      try await addUser(to: store)
      let stolen = try await links(client)
      #expect(try await client.setPassword(stolen.reset, "a-Fine-pass-77").status == 200)
      try await eventually("the notice") { harness.mails.sent.count == 2 }
      let notice = harness.mails.sent[1]
      #expect(notice.resetURL == nil)
      // The attacker asks for another link, and has signed in before.
      let signIn = "UPDATE auth_user SET last_login = '2027-01-01 00:00:00'"
      if let url { try PostgresCluster.sql(signIn, url: url) } else { try harness.execute(signIn) }
      let another = try await links(client, count: 2)
      #expect(try await isValid(another.reset, client))
      for cancel in [try path(notice), stolen.cancel] {
        #expect(try await client.send(.post, cancel).status == 200)
        #expect(try await !isValid(another.reset, client))
      }
      #expect(try await events(store).filter { $0 == "cancelled" }.count == 2)
    }
  }

  @Test(arguments: TestDatabase.allCases) func `can do nothing but cancel, and a reset link can also cancel`(_ database: TestDatabase) async throws {
    try await run(on: database) { client, store in
      try await addUser(to: store)
      let (reset, cancel) = try await links(client)
      let path = String(cancel.dropLast("/cancel".count))
      #expect(try await client.get(path).json["code"] as? String == "invalid_link")
      #expect(try await client.setPassword(path, "a-Fine-pass-77").code == "invalid_link")
      #expect(try await client.send(.get, cancel).status == 405)
      #expect(try await isValid(reset, client))
      #expect(try await client.send(.post, "\(reset)/cancel").status == 200)
      #expect(try await !isValid(reset, client))
      #expect(try await events(store).contains("cancelled"))
    }
  }

  @Test(arguments: TestDatabase.allCases)
  func `gets one reply in bytes, valid or not, with and without a body, in eight languages`(_ database: TestDatabase) async throws {
    try await run(on: database) { client, store in
      try await addUser(to: store)
      let link = try await links(client).cancel
      let token = try #require(link.split(separator: "/").dropLast().last)
      let forged = "/password-reset/MQ/\(token.dropLast())\(token.last == "0" ? "1" : "0")/cancel"
      var texts = Set<String>()
      for language in Languages.builtIn {
        var replies = Set<String>()
        for path in [link, forged, "/password-reset/OTk/\(token)/cancel", "/password-reset/x/y/cancel", "/password-reset/MQ/%00/cancel"] {
          for body in [nil, "{}", #"{"unknown": [1]}"#] {
            let reply = try await client.send(.post, path, body: body, headers: [.acceptLanguage: language])
            #expect(reply.status == 200 && reply.headers[.contentLanguage] == language)
            replies.insert(reply.fingerprint)
            texts.insert(reply.text)
          }
        }
        #expect(replies.count == 1)
      }
      #expect(texts.count == 8)
    }
  }

  @Test func `needs no content type without a body, and the usual one with a body`() async throws {
    try await run(on: .sqlite) { client, _ in
      let path = "/password-reset/MQ/1-2/cancel"
      let cases: [(body: String?, contentType: String?, status: Int)] = [
        (nil, nil, 200), ("", nil, 200), ("", "text/plain", 200), ("{}", nil, 415), ("{}", "text/plain", 415), ("{", "application/json", 400),
        ("null", "application/json", 400), (String(repeating: " ", count: 20_000), "application/json", 413),
      ]
      for (body, contentType, status) in cases {
        let reply = try await client.send(.post, path, body: body, contentType: contentType)
        #expect(reply.status == status, "\(body?.prefix(5) ?? "no body") \(contentType ?? "")")
      }
    }
  }

  @Test func `counts against the limit of requests with links`() async throws {
    try await run(on: .sqlite, ["RATE_LIMIT_LINKS": "2/h"]) { client, _ in
      var statuses: [Int] = []
      for _ in 0..<2 { statuses.append(try await client.send(.post, "/password-reset/MQ/1-2/cancel").status) }
      statuses.append(try await client.get("/password-reset/MQ/1-2").status)
      #expect(statuses == [200, 200, 429])
    }
  }

  @Test func `works for seven days`() async throws {
    try await run(on: .sqlite) { client, store in
      try await addUser(to: store)
      let cancel = try await links(client).cancel
      harness.clock.advance(by: 7 * 86400 - 60)
      #expect(try await client.send(.post, cancel).status == 200)
      #expect(try await events(store).filter { $0 == "cancelled" }.count == 1)
      harness.clock.advance(by: 120)
      #expect(try await client.send(.post, cancel).status == 200)
      #expect(try await events(store).filter { $0 == "cancelled" }.count == 1)
    }
  }

  @Test func `cancels nothing after the secret key was replaced, and does with the old key as a fallback`() async throws {
    let newKey = "django-insecure-another-key-9876543210"
    let found = Recorder()
    try await run(on: .sqlite) { client, store in
      try await addUser(to: store)
      found.add(try await links(client).cancel)
    }
    let cancel = try #require(found.lines.first)
    try await run(on: .sqlite, ["SECRET_KEY": newKey]) { client, store in
      _ = try await client.send(.post, cancel)
      #expect(try await !events(store).contains("cancelled"))
    }
    try await run(on: .sqlite, ["SECRET_KEY": newKey, "SECRET_KEY_FALLBACKS": Harness.secretKey]) { client, store in
      _ = try await client.send(.post, cancel)
      #expect(try await events(store).contains("cancelled"))
    }
  }

  @Test func `is in no email without CANCEL_URL, and nothing is said about it`() async throws {
    try await harness.run { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      _ = try await harness.link()
      let email = harness.mails.sent[0]
      #expect(email.cancelURL == nil && !email.body.contains("cancel") && email.html?.contains("cancel") == false)
    }
  }

  @Test(arguments: TestDatabase.allCases) func `wins every race with a new password that is set after it`(_ database: TestDatabase) async throws {
    try await run(on: database) { client, store in
      for round in 0..<8 {
        let id = try await addUser("user\(round)", to: store)
        let (reset, cancel) = try await links(client, to: "user\(round)")
        async let set = client.setPassword(reset, "a-Fine-pass-77").status
        #expect(try await client.send(.post, cancel).status == 200)
        let password = try await store.user(id: id)?.password
        let status = try await set
        #expect([200, 400].contains(status))
        #expect(try await store.user(id: id)?.password == password)
        #expect(try harness.hasher.verify("a-Fine-pass-77", encoded: #require(password)) == (status == 200))
      }
    }
  }
}

@Suite struct `The audit of a client` {
  /// The keys of the clients in the audit, in the order of the events.
  private func keys(of forwarded: [String], _ harness: Harness) async throws -> [String?] {
    try await harness.run(["TRUSTED_PROXIES": "127.0.0.1,::1"], over: .live) { client in
      for address in forwarded {
        _ = try await client.execute(uri: "/password-reset/MQ/1-2", method: .get, headers: [.init("X-Forwarded-For")!: address]) { Reply($0) }
      }
      try await eventually("the audit") {
        try harness.count("SELECT count(*) FROM password_reset_audit WHERE event = 'link_invalid'") == forwarded.count
      }
    }
    return try harness.sql { db in try String?.fetchAll(db, sql: "SELECT client_key FROM password_reset_audit ORDER BY id") }
  }

  @Test func `has one key for one network, and another for each other network`() async throws {
    let harness = try Harness()
    let keys = try await keys(
      of: ["203.0.113.7", "203.0.113.7", "203.0.113.8", "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1", "::ffff:203.0.113.7"], harness)
    #expect(keys.allSatisfy { $0?.count == 32 })
    #expect(keys[0] == keys[1] && keys[0] == keys[6] && keys[3] == keys[4])
    #expect(Set(keys).count == 4)
    let hasher = IdentifierHasher(secretKey: Harness.secretKey)
    #expect(keys[0] != hasher.key(for: "203.0.113.7"))
  }

  @Test(arguments: TestDatabase.allCases) func `has the same key for each event of a client, and no address`(_ database: TestDatabase) async throws {
    let harness = try Harness()
    var settings = ["TRUSTED_PROXIES": "127.0.0.1,::1", "CANCEL_URL": "https://example.com/cancel/{uid}/{token}"]
    let url = try database.newURL()
    settings["DATABASE_URL"] = url
    try await harness.run(settings, over: .live) { client in
      let store: any Store
      if let url { store = try PostgresStore(PostgresAddress(url: url)) } else { store = try SQLiteStore(path: harness.path) }
      let hash = try harness.hasher.encode(Harness.oldPassword)
      _ = try await store.addUser(username: "alice", email: "alice@example.com", password: hash, at: Date())
      let headers: HTTPFields = [.init("X-Forwarded-For")!: "198.51.100.23"]
      _ = try await client.send(.post, "/password-reset", body: #"{"email": "alice@example.com"}"#, headers: headers)
      let link = try await harness.link()
      _ = try await client.send(
        .post, link, body: #"{"new_password1": "a-Fine-pass-77", "new_password2": "a-Fine-pass-77"}"#, headers: headers)
      try await eventually("the notice") { harness.mails.sent.count == 2 }
      let cancel = try #require(harness.mails.sent[1].cancelURL).dropFirst("https://example.com/cancel".count)
      _ = try await client.send(.post, "/password-reset\(cancel)/cancel", headers: headers)
      _ = try await client.send(.get, link, headers: headers)
      let byClient = ["requested", "reset", "cancelled", "link_invalid"]
      try await eventually("the audit") {
        let rows = try await store.auditRows(AuditFilter(), limit: 100)
        return Set(byClient).isSubset(of: rows.map(\.event))
      }
      let rows = try await store.auditRows(AuditFilter(), limit: 100)
      #expect(Set(rows.filter { byClient.contains($0.event) }.map(\.clientKey)).count == 1)
      #expect(rows.first { $0.event == "requested" }?.clientKey?.count == 32)
      #expect(rows.filter { !byClient.contains($0.event) }.allSatisfy { $0.clientKey == nil })
      #expect(!rows.contains { "\($0)".contains("198.51.100.23") })
      #expect(!harness.log.lines.contains { $0.contains("198.51.100.23") })
    }
  }
}
