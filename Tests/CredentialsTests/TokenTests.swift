import Credentials
import Foundation
import Testing

@Suite struct `A token` {
  let now = Date(timeIntervalSince1970: 1_778_307_200)
  let generator = PasswordResetTokenGenerator(secretKey: "django-insecure-test-key-0123456789", timeout: 3600)
  let alice = TokenSubject(
    id: UserID(1), password: "pbkdf2_sha256$1500000$saltsaltsaltsaltsaltsa$AAAA", lastLogin: "2026-01-02 03:04:05", email: "alice@example.com")

  @Test func `is valid for exactly the timeout`() {
    let token = generator.makeToken(for: alice, at: now)
    let end = now.addingTimeInterval(3600)
    #expect(generator.check(token, for: alice, at: end) == .valid(expiresAt: end))
    #expect(generator.check(token, for: alice, at: end.addingTimeInterval(0.999)) == .valid(expiresAt: end))
    #expect(generator.check(token, for: alice, at: end.addingTimeInterval(1)) == .expired)
  }

  @Test func `becomes invalid with every change of a value that it depends on`() {
    let token = generator.makeToken(for: alice, at: now)
    for change: (inout TokenSubject) -> Void in [
      { $0.id = UserID(2) }, { $0.password += "A" }, { $0.lastLogin = nil }, { $0.lastLogin = "2026-01-02 03:04:06" },
      { $0.email = "alice@example.org" },
    ] {
      var changed = alice
      change(&changed)
      #expect(generator.check(token, for: changed, at: now) == .invalid)
    }
  }

  @Test func `stays valid while its key is a fallback, and becomes invalid when the key is removed`() {
    let token = generator.makeToken(for: alice, at: now)
    let old = "django-insecure-test-key-0123456789"
    let rotated = PasswordResetTokenGenerator(secretKey: "another-key-another-key-another-key", fallbacks: [old], timeout: 3600)
    let retired = PasswordResetTokenGenerator(secretKey: "another-key-another-key-another-key", timeout: 3600)
    #expect(rotated.check(token, for: alice, at: now) != .invalid)
    #expect(retired.check(token, for: alice, at: now) == .invalid)
    #expect(rotated.makeToken(for: alice, at: now) == retired.makeToken(for: alice, at: now))
  }

  @Test func `has only one spelling`() {
    let token = generator.makeToken(for: alice, at: now)
    let timestamp = token.prefix { $0 != "-" }
    let mac = token.drop { $0 != "-" }
    for spelling in [
      token.uppercased(), "0" + token, "+" + token, "-" + token, token + "-", token + "0", " " + token, token + "\n", String(timestamp), String(mac),
      "",
      "-", "--", "zzzzzzzzzzzzzz" + mac, "é" + mac, "-1" + mac, String(token.dropLast()),
    ] {
      #expect(generator.check(spelling, for: alice, at: now) == .invalid, "\(spelling)")
    }
  }

  @Test func `is dated by the wall clock of the site's time zone`() throws {
    // 2026-07-01 12:00:00 UTC is 14:00 in Berlin.
    let summer = Date(timeIntervalSince1970: 1_782_907_200)
    let berlin = PasswordResetTokenGenerator(
      secretKey: "django-insecure-test-key-0123456789", timeout: 3600, timeZone: try #require(TimeZone(identifier: "Europe/Berlin")))
    #expect(berlin.makeToken(for: alice, at: summer) == generator.makeToken(for: alice, at: summer.addingTimeInterval(7200)))
  }
}

@Suite struct `The life of a token across a change of the clock` {
  private static let zones = [
    "Europe/Berlin", "America/Chicago", "Australia/Lord_Howe", "Africa/Casablanca", "America/Sao_Paulo", "Asia/Tehran", "Pacific/Apia",
    "Asia/Kolkata",
    "Antarctica/Troll", "UTC",
  ]
  private static let key = "django-insecure-test-key-0123456789"
  private let alice = TokenSubject(id: UserID("1"), password: "x", lastLogin: nil, email: "alice@example.com")

  /// Returns the hours in which the offset of the zone changes, from 2018 on.
  private func changes(of zone: TimeZone) -> [Int] {
    let offset = { (time: Int) in zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(time))) }
    let days = stride(from: 1_514_764_800, to: 1_830_297_600, by: 86400).filter { offset($0) != offset($0 + 86400) }
    return days.flatMap { day in stride(from: day, to: day + 86400, by: 3600).filter { offset($0) != offset($0 + 3600) } }
  }

  private func isValid(_ token: String, at time: Int, _ generator: PasswordResetTokenGenerator) -> Bool {
    if case .valid = generator.check(token, for: alice, at: Date(timeIntervalSince1970: Double(time))) { true } else { false }
  }

  @Test(arguments: zones, [1, 600, 3600, 7200, 259_200])
  func `is as long as the generator says`(_ name: String, _ timeout: Int) throws {
    let zone = try #require(TimeZone(identifier: name))
    let generator = PasswordResetTokenGenerator(secretKey: Self.key, timeout: timeout, timeZone: zone)
    for change in [1_782_907_200] + changes(of: zone).suffix(4) {
      for start in stride(from: change - timeout - 3000, to: change + 7200, by: max(timeout / 7, 601)) {
        let date = Date(timeIntervalSince1970: Double(start))
        let token = generator.makeToken(for: alice, at: date)
        let life = generator.lifetime(ofTokenFor: alice, madeAt: date)
        #expect(life >= timeout && life <= timeout + 7200)
        for time in [start, start + life / 3, start + life / 2, start + life] {
          let verdict = generator.check(token, for: alice, at: Date(timeIntervalSince1970: Double(time)))
          #expect(verdict == .valid(expiresAt: Date(timeIntervalSince1970: Double(start + life))), "\(name) \(start) \(time)")
        }
        #expect(!isValid(token, at: start + life + 1, generator))
      }
    }
  }

  @Test(arguments: zones) func `is announced truly for tokens that Django made`(_ name: String) throws {
    let zone = try #require(TimeZone(identifier: name))
    let generator = PasswordResetTokenGenerator(secretKey: Self.key, timeout: 3600, timeZone: zone)
    let plain = PasswordResetTokenGenerator(secretKey: Self.key, timeout: 3600)
    for change in [1_782_907_200] + changes(of: zone).suffix(4) {
      for start in stride(from: change - 4000, to: change + 8000, by: 301) {
        // Django dates a token by the wall clock of its zone.
        let offset = zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(start)))
        let token = plain.makeToken(for: alice, at: Date(timeIntervalSince1970: Double(start + offset)))
        guard case .valid(let end) = generator.check(token, for: alice, at: Date(timeIntervalSince1970: Double(start))) else {
          Issue.record("not valid when it was made")
          continue
        }
        let last = Int(end.timeIntervalSince1970)
        for time in stride(from: start, through: last, by: 59) { #expect(isValid(token, at: time, generator), "\(name) \(start) \(time)") }
        #expect(isValid(token, at: last, generator) && !isValid(token, at: last + 1, generator), "\(name) \(start)")
      }
    }
  }

  @Test func `ends at the jump, and a token made just before it lives for an hour`() throws {
    let zone = try #require(TimeZone(identifier: "Europe/Berlin"))
    let berlin = PasswordResetTokenGenerator(secretKey: Self.key, timeout: 3600, timeZone: zone)
    let utc = PasswordResetTokenGenerator(secretKey: Self.key, timeout: 3600)
    func date(_ text: String) throws -> Date { try Date(text, strategy: .iso8601) }
    let token = utc.makeToken(for: alice, at: try date("2026-03-29T01:30:00Z"))
    #expect(berlin.check(token, for: alice, at: try date("2026-03-29T00:31:00Z")) == .valid(expiresAt: try date("2026-03-29T00:59:59Z")))
    #expect(berlin.check(token, for: alice, at: try date("2026-03-29T01:00:01Z")) == .expired)
    #expect(berlin.lifetime(ofTokenFor: alice, madeAt: try date("2026-03-29T00:59:59Z")) == 3600)
    #expect(berlin.lifetime(ofTokenFor: alice, madeAt: try date("2026-10-25T00:30:00Z")) == 7200)
  }
}

@Suite struct `A uidb64` {
  @Test(arguments: [
    "", "M", "MQ=", "MQ==", "M!Q", " MQ", "MR", "é", "..", "%4d%51", "MTAw\u{0301}", "_w", "Pz8+", "Pz8/",
  ])
  func `is refused unless it is spelled exactly as in a link`(_ uidb64: String) {
    #expect(UIDB64.decode(uidb64) == nil)
  }
}

@Suite struct `A key that is a UUID or text` {
  @Test(arguments: ["8f14e45f-ceea-467f-a8d7-9b1f0c2d3e4f", "jürgen?~", "???>>>"])
  func `is written in a link as Django writes it, and read back`(_ key: String) {
    let uidb64 = UIDB64.encode(UserID(key))
    #expect(uidb64.utf8.allSatisfy { !"+/=".utf8.contains($0) })
    #expect(UIDB64.decode(uidb64) == UserID(key))
  }

  @Test func `of more than 255 bytes is refused`() {
    #expect(UIDB64.decode(UIDB64.encode(UserID(String(repeating: "a", count: 255)))) != nil)
    #expect(UIDB64.decode(UIDB64.encode(UserID(String(repeating: "a", count: 257)))) == nil)
  }
}

@Suite struct `An identifier's key` {
  @Test func `is the same for spellings of one address, and differs with the secret`() {
    let hasher = IdentifierHasher(secretKey: "django-insecure-test-key-0123456789")
    #expect(hasher.key(for: "Alice@Example.com") == hasher.key(for: "alice@example.com"))
    #expect(hasher.key(for: "alice@example.com") != hasher.key(for: "alice@example.org"))
    #expect(IdentifierHasher(secretKey: "other").key(for: "alice@example.com") != hasher.key(for: "alice@example.com"))
    #expect(hasher.key(for: "alice@example.com").count == 32)
    #expect(hasher.key(forClient: 1) == hasher.key(forClient: 1) && hasher.key(forClient: 1) != hasher.key(forClient: 2))
    #expect(hasher.key(forClient: 0x61) != hasher.key(for: "\0\0\0\0\0\0\0a"))
    #expect(IdentifierHasher(secretKey: "other").key(forClient: 1) != hasher.key(forClient: 1))
  }
}

@Suite struct `The token of a cancel link` {
  private static let key = "django-insecure-test-key-0123456789"
  private let reset = PasswordResetTokenGenerator(secretKey: key, timeout: 3600)
  private let cancel = PasswordResetTokenGenerator(secretKey: key, timeout: PasswordResetTokenGenerator.cancelTimeout, use: .cancel)
  private let alice = TokenSubject(id: UserID("1"), password: "x", lastLogin: nil, email: "alice@example.com")
  private let now = Date(timeIntervalSince1970: 1_800_000_000)

  @Test func `cannot reset, and the token of a reset link is no cancel token`() {
    let token = cancel.makeToken(for: .ofCancelLink(alice.id), at: now)
    #expect(reset.check(token, for: alice, at: now) == .invalid)
    #expect(reset.check(token, for: .ofCancelLink(alice.id), at: now) == .invalid)
    #expect(cancel.check(reset.makeToken(for: .ofCancelLink(alice.id), at: now), for: .ofCancelLink(alice.id), at: now) == .invalid)
  }

  @Test func `works for seven days and not a second longer`() {
    let token = cancel.makeToken(for: .ofCancelLink(alice.id), at: now)
    let end = now.addingTimeInterval(7 * 86400)
    #expect(cancel.check(token, for: .ofCancelLink(alice.id), at: end) == .valid(expiresAt: end))
    #expect(cancel.check(token, for: .ofCancelLink(alice.id), at: end.addingTimeInterval(1)) == .expired)
  }

  @Test func `is another user's under no reading of its digits`() throws {
    let token = cancel.makeToken(for: .ofCancelLink(UserID("1")), at: now)
    let seconds = String(try #require(TokenTime(of: token)).seconds)
    let hash = try #require(token.split(separator: "-").last)
    for digits in 1..<seconds.count {
      let (front, rest) = (seconds.prefix(digits), try #require(Int(seconds.dropFirst(digits))))
      let forged = "\(String(rest, radix: 36))-\(hash)"
      #expect(cancel.check(forged, for: .ofCancelLink(UserID("1\(front)")), at: now) == .invalid)
      #expect(cancel.check(forged, for: .ofCancelLink(UserID("1cancel\(front)")), at: now) == .invalid)
    }
  }

  @Test func `survives a change of the secret key as a fallback`() {
    let token = cancel.makeToken(for: .ofCancelLink(alice.id), at: now)
    let rotated = PasswordResetTokenGenerator(secretKey: "another-key-another-key-another-key", fallbacks: [Self.key], timeout: 60, use: .cancel)
    #expect(rotated.check(token, for: .ofCancelLink(alice.id), at: now) == .valid(expiresAt: now.addingTimeInterval(60)))
  }
}

@Suite struct `A cancellation of links` {
  private static let key = "django-insecure-test-key-0123456789"
  private static let zones = [
    "Europe/Berlin", "America/Chicago", "Australia/Lord_Howe", "Africa/Casablanca", "America/Sao_Paulo", "Antarctica/Troll", "Asia/Tehran", "UTC",
  ]

  private func subject(_ cancelled: TokenTime? = nil) -> TokenSubject {
    TokenSubject(id: UserID("1"), password: "x", lastLogin: nil, email: "alice@example.com", cancelledThrough: cancelled)
  }

  /// Around each hour in which the offset changes from 2022 to 2027, every token from before is dead and the next one works, also in the same second.
  @Test(arguments: zones, [600, 259_200, 20_000_000])
  func `ends all tokens from before and none that is made later, also while the clock is changed`(_ name: String, _ timeout: Int) throws {
    let zone = try #require(TimeZone(identifier: name))
    let generator = PasswordResetTokenGenerator(secretKey: Self.key, timeout: timeout, timeZone: zone)
    let offset = { (time: Int) in zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(time))) }
    let hours = stride(from: 1_640_995_200, to: 1_830_297_600, by: 3600).filter { offset($0) != offset($0 + 3600) }
    for hour in hours.suffix(4) + [1_782_907_200] {
      for second in stride(from: hour - 3600, to: hour + 7 * 3600, by: 911) {
        let cancelTime = Date(timeIntervalSince1970: Double(second) + 0.5)
        let cancelled = subject(generator.lastTokenTime(until: cancelTime))
        for age in stride(from: 0, to: min(timeout, 3 * 3600), by: 307) {
          let token = generator.makeToken(for: subject(), at: Date(timeIntervalSince1970: Double(second - age)))
          #expect(generator.check(token, for: cancelled, at: cancelTime) == .invalid, "\(name) \(second) \(age)")
        }
        let token = generator.makeToken(for: cancelled, at: cancelTime)
        let life = generator.lifetime(ofTokenFor: cancelled, madeAt: cancelTime)
        let end = Date(timeIntervalSince1970: Double(second + life))
        #expect(life > timeout && life <= timeout + 2 * 7201)
        #expect(generator.check(token, for: cancelled, at: cancelTime) == .valid(expiresAt: end), "\(name) \(second)")
        #expect(generator.check(token, for: cancelled, at: end) == .valid(expiresAt: end))
      }
    }
  }

  @Test func `is kept by a store as milliseconds, and a damaged time cancels nothing`() {
    let time = TokenTime(seconds: 821_692_800)
    #expect(time.milliseconds == 1_800_000_000_000)
    #expect(TokenTime(milliseconds: time.milliseconds) == time)
    #expect(TokenTime(milliseconds: 0) == nil && TokenTime(milliseconds: .min) == nil)
    #expect(TokenTime(milliseconds: .max) != nil && TokenTime(seconds: .max).milliseconds > 0)
  }
}
