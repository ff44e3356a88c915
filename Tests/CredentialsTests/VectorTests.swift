import Credentials
import Foundation
import Testing
import Text

/// Django's answers, written by `make_vectors.py`.
struct Vectors: Decodable {
  struct Token: Decodable {
    var id: Int64, password: String, email: String, last_login: String?, secret: String, seconds: Int, token: String
  }
  struct Hash: Decodable { var password: String, encoded: String }
  struct UID: Decodable { var id: Int64, uidb64: String }
  struct Caseless: Decodable { var a: String, b: String, equal: Bool }
  struct Lower: Decodable { var text: String, lower: String, stripped: String }
  struct Validation: Decodable {
    struct User: Decodable { var username: String, first_name: String, last_name: String, email: String }
    struct Error: Decodable, Equatable { var code: String, message: String }
    var user: User, password: String, errors: [Error]
  }

  var tokens: [Token], hashes: [Hash], uids: [UID], caseless: [Caseless], lower: [Lower], validations: [Validation]

  static let all = Result {
    let url = try #require(Bundle.module.url(forResource: "vectors", withExtension: "json"))
    return try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: url))
  }
}

@Suite struct `The service gives the same answers as Django` {
  let vectors: Vectors

  init() throws { vectors = try Vectors.all.get() }

  @Test func `tokens are Django's, byte for byte`() throws {
    for vector in vectors.tokens {
      let generator = PasswordResetTokenGenerator(secretKey: vector.secret, timeout: 60)
      let subject = TokenSubject(id: UserID(vector.id), password: vector.password, lastLogin: vector.last_login, email: vector.email)
      let date = Date(timeIntervalSince1970: Double(vector.seconds + 978_307_200))
      #expect(generator.makeToken(for: subject, at: date) == vector.token)
      #expect(generator.check(vector.token, for: subject, at: date) == .valid(expiresAt: date.addingTimeInterval(60)))
    }
  }

  @Test func `hashes made by every hasher of Django verify, and no other password does`() {
    let hashers = PasswordHashers()
    for vector in vectors.hashes {
      #expect(hashers.recognizes(vector.encoded))
      #expect(hashers.verify(vector.password, encoded: vector.encoded), "\(vector)")
      // One hash at Django's default cost is enough.
      if vector.password != "lètmein" || vector.encoded.contains("seasalt") {
        #expect(!hashers.verify(vector.password + " ", encoded: vector.encoded))
      }
    }
    #expect(Set(vectors.hashes.map { $0.encoded.prefix { $0 != "$" } }) == Set(PasswordHashers.algorithms.map { Substring($0) }))
  }

  @Test func `uidb64 is Django's, both ways`() {
    for vector in vectors.uids {
      #expect(UIDB64.encode(UserID(vector.id)) == vector.uidb64)
      #expect(UIDB64.decode(vector.uidb64) == UserID(vector.id))
    }
  }

  @Test func `addresses are equal exactly when Django's NFKC and case folding make them so`() {
    for vector in vectors.caseless {
      #expect((vector.a.caselessKey == vector.b.caselessKey) == vector.equal, "\(vector)")
    }
  }

  @Test func `lower case and stripping are Python's`() {
    for vector in vectors.lower {
      #expect(vector.text.pythonLowercased.isIdentical(to: vector.lower), "\(vector)")
      #expect(vector.text.stripped.isIdentical(to: vector.stripped), "\(vector)")
    }
  }

  @Test func `validators find what Django's find, in its order and words`() {
    // Only the service has a maximum length, and no vector is that long.
    let validators = defaultPasswordValidators()
    for vector in vectors.validations {
      let user = UserAttributes(
        username: vector.user.username, firstName: vector.user.first_name, lastName: vector.user.last_name, email: vector.user.email)
      let found = validators.compactMap { $0.validate(vector.password, user: user) }
      #expect(found.map { Vectors.Validation.Error(code: $0.code, message: $0.message) } == vector.errors, "\(vector)")
    }
  }
}
