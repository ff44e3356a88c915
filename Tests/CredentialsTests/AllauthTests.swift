import Credentials
import Foundation
import Testing

/// django-allauth's answers, written by `make_allauth_vectors.py`.
private struct AllauthVectors: Decodable {
  struct Token: Decodable {
    var id: Int64, uid: String, password: String, email: String, last_login: String?, addresses: [String], seconds: Int, token: String
  }

  var tokens: [Token]

  static let all = Result {
    let url = try #require(Bundle.module.url(forResource: "allauth_vectors", withExtension: "json"))
    return try JSONDecoder().decode(AllauthVectors.self, from: Data(contentsOf: url))
  }
}

@Suite struct `The service gives the same answers as allauth` {
  @Test func `tokens and keys are allauth's, byte for byte`() throws {
    let generator = PasswordResetTokenGenerator(secretKey: "django-insecure-test-key-0123456789", timeout: 60)
    for vector in try AllauthVectors.all.get().tokens {
      let subject = TokenSubject(
        id: UserID(vector.id), password: vector.password, lastLogin: vector.last_login, email: vector.email,
        addresses: AddressSet(email: vector.email, others: vector.addresses))
      let date = Date(timeIntervalSince1970: Double(vector.seconds + 978_307_200))
      #expect(generator.makeToken(for: subject, at: date) == vector.token, "\(vector)")
      #expect(generator.check(vector.token, for: subject, at: date) == .valid(expiresAt: date.addingTimeInterval(60)))
      #expect(UIDB36.encode(vector.id) == vector.uid && UIDB36.decode(vector.uid) == vector.id)
    }
  }
}

@Suite struct `A token of allauth` {
  private let generator = PasswordResetTokenGenerator(secretKey: "django-insecure-test-key-0123456789", timeout: 60)

  private func subject(_ addresses: [String]?) -> TokenSubject {
    TokenSubject(
      id: UserID(1), password: "x", lastLogin: nil, email: "a@example.com",
      addresses: addresses.map { AddressSet(email: "a@example.com", others: $0) })
  }

  @Test(arguments: [[], ["b@example.com", "c@example.com"], ["e\u{301}@example.com"], nil] as [[String]?])
  func `is refused for other addresses, for another spelling, and by Django`(_ others: [String]?) {
    let token = generator.makeToken(for: subject(["é@example.com"]), at: Date())
    #expect(generator.check(token, for: subject(others), at: Date()) == .invalid)
  }

  @Test func `depends neither on the order nor on repetitions of the addresses`() {
    let token = generator.makeToken(for: subject(["b@example.com", "c@example.com"]), at: Date())
    let other = subject(["c@example.com", "a@example.com", "b@example.com", "c@example.com"])
    #expect(generator.check(token, for: other, at: Date()) != .invalid)
  }
}

@Suite struct `A uidb36` {
  @Test(arguments: ["", "01", "A", "+1", "-1", " 1", "1 ", "1_0", "é", "٣", "1y2p0ij32e8e8", "zzzzzzzzzzzzz", "00000000000001"])
  func `is refused unless it is spelled exactly as in a link`(_ uidb36: String) {
    #expect(UIDB36.decode(uidb36) == nil)
  }

  @Test(arguments: [(0, "0"), (35, "z"), (36, "10"), (Int64.max, "1y2p0ij32e8e7")])
  func `holds every key that is not negative`(_ key: Int64, _ text: String) {
    #expect(UIDB36.encode(key) == text && UIDB36.decode(text) == key)
  }
}
