import Foundation
import HTTPTypes
import HummingbirdTesting
import PasswordReset
import Testing
import Text

@testable import HTTPAPI

@Suite struct `A limit in the settings` {
  @Test(arguments: ["1 0/m", "1/ m", "1 /m", "+1/m", "1/m,5 0/h", "1/m,,5/h", "1", "1/m/h", ""])
  func `is refused when it is not a count and a unit`(_ text: String) {
    #expect(RateLimit.parse(text) == nil)
  }

  @Test func `may have blanks after its commas`() {
    #expect(RateLimit.parse("1/m, 50/h") == [RateLimit(count: 1, seconds: 60), RateLimit(count: 50, seconds: 3600)])
  }
}

@Suite struct `The limit of a client` {
  private static let overProxy = ["TRUSTED_PROXIES": "127.0.0.1,::1,10.0.0.0/8"]

  private func ask(_ client: any TestClientProtocol, as forwardedFor: String, email: String = "a@example.com") async throws -> Reply {
    try await client.send(
      .post, "/password-reset", body: "{\"email\": \"\(email)\"}", headers: [HTTPField.Name("X-Forwarded-For")!: forwardedFor])
  }

  /// Returns the addresses that get through at a limit of one.
  private func passing(_ addresses: [String], _ environment: [String: String] = overProxy) async throws -> [String] {
    let harness = try Harness()
    let passed = Recorder()
    try await harness.run(environment.merging(["RATE_LIMIT_REQUESTS": "1/h"]) { $1 }, logLevel: .error, over: .live) { client in
      for address in addresses {
        let reply = try await ask(client, as: address)
        if reply.status == 202 { passed.add(address) } else if reply.status != 429 { Issue.record("\(reply)") }
      }
    }
    return passed.lines
  }

  @Test func `is in every response, and ends in 429 with the time to wait`() async throws {
    let harness = try Harness()
    harness.clock.freeze(at: Date(timeIntervalSince1970: 1_800_000_000))
    try await harness.run(["RATE_LIMIT_REQUESTS": "3/m,100/h", "RATE_LIMIT_LINKS": "2/m"]) { client in
      var replies: [Reply] = []
      for body in [#"{"email": "a@example.com"}"#, "no JSON", "{}", #"{"email": "a@example.com"}"#] {
        replies.append(try await client.send(.post, "/password-reset", body: body))
      }
      #expect(replies.map(\.status) == [202, 400, 400, 429])
      #expect(replies.map { $0.headers[.rateLimit] } == ["\"minute\";r=2;t=20", "\"minute\";r=1;t=40", "\"minute\";r=0;t=60", "\"minute\";r=0;t=60"])
      #expect(Set(replies.map { $0.headers[.rateLimitPolicy] }) == ["\"minute\";q=3;w=60, \"hour\";q=100;w=3600"])
      #expect(replies.map { $0.headers[.retryAfter] } == [nil, nil, nil, "20"])
      #expect(replies[3].code == "throttled")
      // The other operations have their own count; GET, HEAD and POST of links share one.
      let link = "/password-reset/MQ/1-2"
      #expect(try await client.get(link).headers[.rateLimit] == "\"minute\";r=1;t=30")
      #expect(try await client.send(.head, link).headers[.rateLimit] == "\"minute\";r=0;t=60")
      #expect(try await client.setPassword(link, "a-Fine-pass-77").status == 429)
      #expect(try await client.get("/health/live").headers[.rateLimit] == nil)

      harness.clock.freeze(at: Date(timeIntervalSince1970: 1_800_000_019))
      #expect(try await client.requestReset(email: "a@example.com").headers[.retryAfter] == "1")
      harness.clock.freeze(at: Date(timeIntervalSince1970: 1_800_000_020))
      #expect(try await client.requestReset(email: "a@example.com").status == 202)
      #expect(try await client.requestReset(email: "a@example.com").headers[.retryAfter] == "20")
      // After the clock is set back by years, clients wait as long as before.
      harness.clock.freeze(at: Date(timeIntervalSince1970: 1_700_000_000))
      #expect(try await client.requestReset(email: "a@example.com").headers[.retryAfter] == "20")
      harness.clock.freeze(at: Date(timeIntervalSince1970: 1_700_000_020))
      #expect(try await client.requestReset(email: "a@example.com").status == 202)
    }
  }

  @Test(arguments: [1, 30, 3600, 3 * 3600, 400 * 86400])
  func `counts no request twice after the clock was ahead by`(_ seconds: Double) async throws {
    let harness = try Harness()
    let start = Date(timeIntervalSince1970: 1_800_000_000)
    try await harness.run(["RATE_LIMIT_REQUESTS": "20/m,100/h"]) { client in
      for (index, ahead) in [0, seconds, 0, seconds, 0, 0].enumerated() {
        harness.clock.freeze(at: start.addingTimeInterval(ahead))
        let reply = try await client.requestReset(email: "a@example.com")
        #expect(reply.status == 202)
        let left = try #require(reply.headers[.rateLimit]?.firstMatch(of: /r=([0-9]+)/).flatMap { Int($0.1) })
        #expect(left >= 19 - index, "\(reply.headers)")
      }
      // The limit still counts.
      var statuses: [Int] = []
      for _ in 0..<30 { statuses.append(try await client.requestReset(email: "a@example.com").status) }
      #expect(statuses.suffix(10) == [Int](repeating: 429, count: 10)[...])
    }
  }

  @Test func `lets exactly its number of simultaneous requests through`() async throws {
    let harness = try Harness()
    try await harness.run(["RATE_LIMIT_REQUESTS": "5/h"], logLevel: .error) { client in
      for round in 0..<20 {
        harness.clock.freeze(at: Date(timeIntervalSince1970: 1_800_000_000 + Double(round) * 3600))
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
          for _ in 0..<200 { group.addTask { try await client.requestReset(email: "a@example.com").status } }
          return try await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
        }
        #expect(statuses == [202: 5, 429: 195])
      }
    }
  }

  @Test func `is the same for a known and an unknown address`() async throws {
    let harness = try Harness()
    try await harness.run(Self.overProxy.merging(["RATE_LIMIT_REQUESTS": "5/m"]) { $1 }, logLevel: .error, over: .live) { client in
      try await harness.addUser()
      harness.clock.freeze(at: Date(timeIntervalSince1970: 1_800_000_000))
      var sequences: [[String]] = []
      for (address, email) in [("192.0.2.1", "alice@example.com"), ("192.0.2.2", "stranger@example.com")] {
        var sequence: [String] = []
        for _ in 0..<12 { sequence.append(try await ask(client, as: address, email: email).fingerprint) }
        sequences.append(sequence)
      }
      #expect(sequences[0] == sequences[1] && Set(sequences[0]).count == 6)
    }
  }

  @Test func `cannot be evaded by a forged header`() async throws {
    let addresses = (0..<1000).map { _ in "\(Int.random(in: 1...223)).\(Int.random(in: 0...255)).0.1" }
    #expect(try await passing(addresses, [:]).count == 1)
    // The proxy appends the address of its client on the right.
    #expect(try await passing(addresses.prefix(50).map { "\($0), 203.0.113.7" }).count == 1)
    #expect(try await passing(addresses.prefix(50).map { "\($0), 203.0.113.7, 10.1.2.3" }).count == 1)
    #expect(try await passing(addresses.prefix(50).map { "\($0), rubbish, 10.1.2.3" }).count == 1)
  }

  @Test func `counts each address of IPv4 and each /64 of IPv6`() async throws {
    #expect(try await passing((1...20).map { "192.0.2.\($0)" }).count == 20)
    #expect(try await passing(["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "192.0.2.1:4711", "[::ffff:192.0.2.1]:4711"]).count == 1)
    #expect(try await passing((1...20).map { "2001:db8:1:2:\($0)::\($0)" }).count == 1)
    #expect(try await passing((1...20).map { "2001:db8:1:\($0)::1" }).count == 20)
  }

  @Test func `uses the last address that does not belong to a trusted proxy`() throws {
    let proxies = try #require(TrustedProxies("10.0.0.0/8, 192.168.1.1, fd00::/8"))
    func client(_ peer: String, _ forwardedFor: String...) -> IPAddress? { proxies.client(peer: IPAddress(peer), forwardedFor: forwardedFor) }
    #expect(client("203.0.113.1", "192.0.2.1") == IPAddress("203.0.113.1"))
    #expect(client("10.0.0.1", "192.0.2.1") == IPAddress("192.0.2.1"))
    #expect(client("::ffff:10.0.0.1", "198.51.100.1, 192.0.2.1, 10.9.9.9, fd00::1") == IPAddress("192.0.2.1"))
    #expect(client("10.0.0.1", "198.51.100.1", "192.0.2.1", "192.168.1.1") == IPAddress("192.0.2.1"))
    #expect(client("192.168.1.2", "192.0.2.1") == IPAddress("192.168.1.2"))
    #expect(client("10.0.0.1") == IPAddress("10.0.0.1"))
    #expect(client("10.0.0.1", "10.0.0.2, 10.0.0.3") == IPAddress("10.0.0.2"))
    #expect(client("10.0.0.1", "192.0.2.1, unknown") == IPAddress("10.0.0.1"))
    // Swift combines a comma with certain preceding characters into one character.
    #expect(client("10.0.0.1", "198.51.100.1:\u{600}, 192.0.2.1") == IPAddress("192.0.2.1"))
    #expect(client("10.0.0.1", "[2001:db8::1]\u{600}, 192.0.2.1") == IPAddress("192.0.2.1"))
    #expect(client("10.0.0.1", "192.0.2.1:80x") == IPAddress("10.0.0.1"))
    #expect(proxies.client(peer: nil, forwardedFor: ["192.0.2.1"]) == nil)
  }

  @Test func `remembers a bounded number of clients, the most recent ones`() {
    let now = Date()
    let limiter = GCRALimiter([RateLimit(count: 1, seconds: 3600)], generation: 1000, now: { now })
    for client in UInt64(1)...20_000 {
      if limiter.charge(client).retryAfter != nil { Issue.record("client \(client) was mistaken for another") }
    }
    #expect(limiter.knownClients <= 2000)
    for client in UInt64(19_001)...20_000 {
      if limiter.charge(client).retryAfter == nil { Issue.record("client \(client) was forgotten") }
    }
  }
}

@Suite struct `The limit of all emails` {
  @Test func `does not make the limit of an address forget`() async throws {
    let harness = try Harness()
    try await harness.run(["RATE_LIMIT_MAILS_TOTAL": "100/s", "RATE_LIMIT_MAILS": "1/h"]) { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      harness.clock.advance(by: 5)
      #expect(try await client.setPassword(link, "a-Fine-pass-77").status == 200)
      try await eventually("the notice") { harness.mails.sent.count == 2 }
      _ = try await client.requestReset(email: "alice@example.com")
      try await harness.drained()
      #expect(harness.mails.sent.count == 2)
    }
  }

  @Test func `is not used up by emails sent while the clock was ahead`() async throws {
    let harness = try Harness()
    try await harness.run(["RATE_LIMIT_MAILS_TOTAL": "1/d"]) { client in
      try await harness.addUser()
      harness.clock.advance(by: 400 * 86400)
      _ = try await client.requestReset(email: "alice@example.com")
      _ = try await harness.link()
      harness.clock.advance(by: -400 * 86400)
      _ = try await client.requestReset(email: "alice@example.com")
      _ = try await harness.link(count: 2)
    }
  }

  @Test func `makes emails wait and loses none, even across a restart`() async throws {
    let harness = try Harness()
    for round in 0..<2 {
      try await harness.run(["RATE_LIMIT_MAILS_TOTAL": "3/h", "RATE_LIMIT_MAILS": "1/m"], logLevel: .error) { client in
        if round == 0 {
          for index in 0..<5 {
            try await harness.addUser("user\(index)", email: "user\(index)@example.com")
            #expect(try await client.requestReset(email: "user\(index)@example.com").status == 202)
          }
        }
        try await eventually("three emails, and two that wait") {
          let waiting = try harness.count("SELECT count(*) FROM password_reset_outbox WHERE last_error LIKE '%RATE_LIMIT_MAILS_TOTAL%'")
          return harness.mails.sent.count == 3 && waiting == 2
        }
      }
    }
    harness.clock.advance(by: 3700)
    try await harness.run(["RATE_LIMIT_MAILS_TOTAL": "3/h"], logLevel: .error) { _ in
      try await harness.drained()
      #expect(harness.mails.sent.count == 5)
    }
  }
}
