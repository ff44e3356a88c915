import Credentials
import Testing

private let bcrypt = BCryptPasswordHasher(isPrehashed: false, rounds: 4)
private let argon2 = Argon2PasswordHasher(cost: .init(timeCost: 1, memoryCost: 64, parallelism: 1))

private func hashers(_ hasher: any PasswordHasher = bcrypt, _ options: [String: String] = [:]) throws -> PasswordHashers {
  PasswordHashers(preferred: hasher, format: try .make(.crypt, options: options, algorithm: hasher.algorithm))
}

@Suite struct `A hash of another framework` {
  /// Test vectors that the frameworks publish: bcrypt_elixir's `test/base_test.exs` (Phoenix), node.bcrypt.js's
  /// `test/sync.test.js`, Spring Security's reference ("Password Storage") and its `Argon2PasswordEncoderTests`.
  /// Tests/System/frameworks checks hashes that the frameworks make during the test.
  @Test(arguments: [
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("ππππππππ", "$2a$10$.TtQJ4Jr6isd4Hp.mVfZeuh6Gws4rOQ/vdBczhDx.19NFK0Y84Dle"),
    (String(repeating: "0", count: 72), "$2b$05$CCCCCCCCCCCCCCCCCCCCC.6.O1dLNbjod2uo0DVcW.jHucKbPDdHS"),
    ("ἓν οἶδα ὅτι οὐδὲν οἶδα", "$2b$12$LeHKWR2bmrazi/6P22JpauX5my/eKwwKpWqL7L5iEByBnxNc76FRW"),
    ("envy1362987212538", "$2a$10$XOPbrlUPQdwdJUpSrIF6X.LbE14qsMmKGhM1A8W9iqaG3vv1BD7WC"),
    ("password", "{bcrypt}$2a$10$dXJ3SW6G7P50lGmMkkmwe.20cQQubK3.HZWzG3YB1tlRy.fqvM/BG"),
    ("sometestpassword", "$argon2id$v=19$m=4096,t=3,p=1$QUFBQUFBQUFBQUFBQUFBQQ$hmmTNyJlwbb6HAvFoHFWF+u03fdb0F2qA+39oPlcAqo"),
    (
      "sometestpassword",
      "{argon2@SpringSecurity_v5_8}$argon2id$v=19$m=512,t=5,p=4$QUFBQUFBQUFBQUFBQUFBQQ$PNv4C3K50bz3rmON+LtFpdisD7ePieLNq+l5iUHgc1k"
    ),
  ])
  func `verifies its password and no other`(_ password: String, _ stored: String) throws {
    let hashers = try hashers()
    #expect(hashers.recognizes(stored))
    #expect(hashers.verify(password, encoded: stored))
    #expect(!hashers.verify(password.dropLast() + "x", encoded: stored))
    #expect(!PasswordHashers().recognizes(stored), "the format django must not read it")
  }

  @Test(arguments: [
    "", "{bcrypt}", "{}", "{", "$", "$2b$", "garbage", "!unusable", "\u{0}", "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "{noop}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "{argon2}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "{bcrypt}{bcrypt}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "{BLF-CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "{noop}U*U", "U*U",
    " $2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "bcrypt$$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n",
    "$argon2id$v=19$m=8388608,t=1,p=1$c2FsdHNhbHQ$AAAA", "{argon2}$argon2id$v=19$m=64,t=1000000,p=1$c2FsdHNhbHQ$AAAA",
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1", "pbkdf2_sha256$1$salt$AAAA",
    String(repeating: "{", count: 1 << 20), "{" + String(repeating: "a", count: 1 << 20) + "}", "$2b$04$" + String(repeating: "a", count: 1 << 20),
  ])
  func `that is empty, damaged, hostile or of another format verifies no password`(_ stored: String) throws {
    let hashers = try hashers()
    #expect(!hashers.recognizes(stored))
    for password in ["", "U*U", "password"] { #expect(!hashers.verify(password, encoded: stored)) }
  }

  @Test func `may have the configured prefix`() throws {
    let hashers = try hashers(bcrypt, ["prefix": "{BLF-CRYPT}", "ident": "2y"])
    #expect(hashers.verify("U*U", encoded: "{BLF-CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"))
    #expect(hashers.verify("U*U", encoded: "{bcrypt}$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"))
  }
}

@Suite struct `A new hash in the format crypt` {
  @Test(arguments: [
    (bcrypt as any PasswordHasher, [:], "$2b$04$", 60), (bcrypt, ["ident": "2a"], "$2a$04$", 60), (bcrypt, ["ident": "2b"], "$2b$04$", 60),
    (bcrypt, ["ident": "2y", "prefix": "{bcrypt}"], "{bcrypt}$2y$04$", 68), (argon2, [:], "$argon2id$v=19$m=64,t=1,p=1$", 102),
    (argon2, ["prefix": "{argon2}"], "{argon2}$argon2id$v=19$m=64,t=1,p=1$", 110),
  ])
  func `begins as the options say, and verifies only its own password`(
    _ hasher: any PasswordHasher, _ options: [String: String], _ start: String, _ length: Int
  ) throws {
    let hashers = try hashers(hasher, options)
    for password in ["p", " spaces ", "e\u{301}", "é", String(repeating: "ü", count: 36)] {
      let stored = try hashers.encode(password)
      #expect(stored.hasPrefix(start) && stored.utf8.count == length, "\(stored)")
      #expect(try stored != hashers.encode(password))
      #expect(hashers.recognizes(stored) && hashers.verify(password, encoded: stored))
      #expect(hashers.format.algorithm(of: stored) == hasher.algorithm)
      for other in ["", password.dropLast() + "x", password.precomposedStringWithCanonicalMapping + " "] {
        #expect(!hashers.verify(other, encoded: stored))
      }
    }
  }

  @Test func `of bcrypt refuses a password that PHP or bcrypt would cut`() throws {
    let hashers = try hashers()
    for password in [String(repeating: "x", count: 73), "a\0b"] {
      #expect(throws: PasswordHashingError.unsuitablePassword) { try hashers.encode(password) }
    }
    #expect(!hashers.verify("a\0b", encoded: try hashers.encode("a")))
    #expect(!hashers.verify(String(repeating: "x", count: 73), encoded: try hashers.encode(String(repeating: "x", count: 72))))
  }

  @Test(arguments: [
    ("bcrypt", ["ident": "2x"], PasswordFormatError.unknownIdent), ("bcrypt", ["ident": ""], .unknownIdent),
    ("argon2", ["ident": "2y"], .identWithoutBcrypt), ("bcrypt", ["rounds": "4"], .unknownOption), ("bcrypt", ["prefix": "{a$b}"], .invalidPrefix),
    ("bcrypt", ["prefix": "bcrypt"], .invalidPrefix), ("bcrypt", ["prefix": "{}"], .invalidPrefix), ("bcrypt", ["prefix": "{a}{b}"], .invalidPrefix),
    ("bcrypt", ["prefix": "{\(String(repeating: "a", count: 39))}"], .invalidPrefix), ("bcrypt", ["prefix": "{argon2}"], .prefixOfOtherAlgorithm),
    ("argon2", ["prefix": "{bcrypt}"], .prefixOfOtherAlgorithm), ("bcrypt", ["prefix": "{argon2@SpringSecurity_v5_8}"], .prefixOfOtherAlgorithm),
    ("pbkdf2_sha256", [:], .unsupportedAlgorithm), ("pbkdf2_sha1", [:], .unsupportedAlgorithm), ("scrypt", [:], .unsupportedAlgorithm),
    ("bcrypt_sha256", [:], .unsupportedAlgorithm),
  ])
  func `is not made with options or an algorithm that no other framework could read`(
    _ algorithm: String, _ options: [String: String], _ expected: PasswordFormatError
  ) {
    #expect(throws: expected) { try PasswordFormat.make(.crypt, options: options, algorithm: algorithm) }
  }
}

@Suite struct `A user without a password` {
  @Test func `has Django's unusable password in the format django, where an empty text is usable as in Django`() throws {
    let format = try PasswordFormat.make(.django, algorithm: "bcrypt")
    #expect(format.isUnusable("!") && format.isUnusable(format.makeUnusable()))
    #expect(format.makeUnusable().count == 41)
    #expect(!format.isUnusable("") && !format.isUnusable("$2b$04$"))
    #expect(throws: PasswordFormatError.unusedOptions) { try PasswordFormat.make(.django, options: ["ident": "2b"], algorithm: "bcrypt") }
  }

  @Test func `has an empty text in the format crypt`() throws {
    let format = try PasswordFormat.make(.crypt, algorithm: "bcrypt")
    #expect(format.makeUnusable().isEmpty)
    #expect(format.isUnusable("") && format.isUnusable(UnusablePassword.make()))
    #expect(!format.isUnusable("garbage") && !format.isUnusable("$2b$04$"))
  }
}
