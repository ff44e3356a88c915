import Credentials
import Foundation
import Testing

private let megabyte = String(repeating: "A", count: 1 << 20)

@Suite struct `A stored hash` {
  /// Hashers must refuse these without hashing, because they do not recognize them.
  @Test(arguments: [
    "", "$", "$$$", "$$$$$", "!abc", "garbage", "pbkdf2_sha256", "pbkdf2_sha256$1$salt", "pbkdf2_sha256$0$salt$AAAA", "pbkdf2_sha256$-1$salt$AAAA",
    "pbkdf2_sha256$99999999999999999999$salt$AAAA", "pbkdf2_sha256$10000001$salt$AAAA", "pbkdf2_sha256$1$salt$", "pbkdf2_sha256$x$salt$AAAA",
    "pbkdf2_sha256$1$salt$AAAA$", "pbkdf2_sha1$10000001$salt$AAAA", "pbkdf2_sha512$1$salt$AAAA", "md5$salt$3f86d0d3d465b7b458c231bf3555c0e3",
    "pbkdf2_sha256$1$\(megabyte)$AAAA", "scrypt$2$\(megabyte)$1$1$AAAA", "argon2$argon2id$v=19$m=64,t=1,p=1$\(megabyte)$AAAA",
    "bcrypt$\(megabyte)", megabyte,
    "scrypt$1152921504606846976$salt$8$1$AAAA", "scrypt$16384$salt$8$5", "scrypt$16383$salt$8$5$AAAA", "scrypt$1$salt$8$5$AAAA",
    "scrypt$0$salt$8$5$AAAA", "scrypt$-2$salt$8$5$AAAA", "scrypt$2$salt$0$5$AAAA", "scrypt$2$salt$8$0$AAAA",
    "scrypt$2$salt$9223372036854775807$2$AAAA",
    "scrypt$2$salt$8$9223372036854775807$AAAA", "scrypt$2097152$salt$8$1$AAAA", "scrypt$65536$salt$1$1$AAAA", "scrypt$16384$salt$8$5$",
    "argon2$argon2id$v=19$m=8388608,t=1,p=1$c2FsdHNhbHQ$AAAA", "argon2$argon2id$v=19$m=8388608,t=1000000,p=0$c2FsdA$AAAA",
    "argon2$argon2id$v=19$m=64,t=1000000,p=1$c2FsdHNhbHQ$AAAA", "argon2$argon2id$v=19$m=64,t=1,p=0$c2FsdHNhbHQ$AAAA",
    "argon2$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$AAAA", "argon2$argon2id$v=19$m=7,t=1,p=1$c2FsdHNhbHQ$AAAA",
    "argon2$argon2id$v=19$m=1024,t=1,p=65$c2FsdHNhbHQ$AAAA", "argon2$argon2id$v=19$m=99999999999999999999,t=1,p=1$c2FsdHNhbHQ$AAAA",
    "argon2$argon2x$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAA", "argon2$", "argon2$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ",
    "bcrypt$$2b$31$N9qo8uLOickgx2ZMRZoMye9fCoc9Nuz52ZBk/0FX4TNHEyyqbVRGG", "bcrypt$$2b$17$N9qo8uLOickgx2ZMRZoMye9fCoc9Nuz52ZBk/0FX4TNHEyyqbVRGG",
    "bcrypt$$2b$03$N9qo8uLOickgx2ZMRZoMye9fCoc9Nuz52ZBk/0FX4TNHEyyqbVRGG", "bcrypt$$2x$04$N9qo8uLOickgx2ZMRZoMye9fCoc9Nuz52ZBk/0FX4TNHEyyqbVRGG",
    "bcrypt$$2b$04$N9qo8uLOickgx2ZMRZoMye9fCoc9Nuz52ZBk/0FX4TNHEyyqbVRG", "bcrypt$$6$salt$AAAA", "bcrypt$*0", "bcrypt_sha256$", "bcrypt$",
    "bcrypt_sha256$2b$12$N9qo8uLOickgx2ZMRZoMyeSACEIPRZfq7wijVsAZNfBbsufrzEVr6", "é$\u{0}$x",
  ])
  func `that is damaged or hostile is refused before any work`(_ encoded: String) {
    let hashers = PasswordHashers()
    #expect(!hashers.recognizes(encoded))
    #expect(!hashers.verify("password", encoded: encoded))
  }

  /// These are well-formed and within bounds, so they are hashed. Hashing them must not fail or crash.
  @Test(arguments: [
    "scrypt$32768$salt$1$64$AAAA", "argon2$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA", "argon2$argon2id$v=99$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAA",
    "argon2$argon2id$v=19$m=8,t=1,p=1$A$A", "argon2$argon2id$v=19$m=00008,t=1,p=1$c2FsdHNhbHQ$AAAAAAAA", "pbkdf2_sha256$+1$salt$AAAA",
    "pbkdf2_sha256$1$$AAAA",
    "bcrypt$$2b$04$zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "scrypt$2$$1$1$not base64 at all",
  ])
  func `that is well formed but belongs to no password verifies false`(_ encoded: String) {
    #expect(!PasswordHashers().verify("password", encoded: encoded))
    #expect(!PasswordHashers().verify("", encoded: encoded))
  }

  @Test func `no longer verifies when it is cut short or changed in any place`() throws {
    for encoded in try cheapHashers.map({ try $0.encode("a-Fine-pass-77") }) {
      for length in 0..<encoded.count { #expect(!PasswordHashers().verify("a-Fine-pass-77", encoded: String(encoded.prefix(length)))) }
      #expect(!PasswordHashers().verify("a-Fine-pass-77", encoded: encoded + "A"))
      #expect(!PasswordHashers().verify("a-Fine-pass-77", encoded: encoded.uppercased()))
    }
  }
}

private let cheapHashers: [any PasswordHasher] = [
  PBKDF2PasswordHasher(iterations: 10), PBKDF2PasswordHasher(.sha1, iterations: 10),
  Argon2PasswordHasher(cost: .init(timeCost: 1, memoryCost: 64, parallelism: 2)),
  ScryptPasswordHasher(cost: .init(workFactor: 16, blockSize: 8, parallelism: 1)), BCryptPasswordHasher(isPrehashed: true, rounds: 4),
  BCryptPasswordHasher(isPrehashed: false, rounds: 4),
]

@Suite struct `A new hash` {
  @Test func `has a new salt each time, and verifies only its own password`() throws {
    for hasher in cheapHashers {
      for password in ["p", " spaces ", "e\u{301}", "é", "😀😀😀😀😀😀😀😀", String(repeating: "x", count: 72)] {
        let encoded = try hasher.encode(password)
        #expect(try encoded != hasher.encode(password))
        #expect(encoded.count <= 128, "Django's column holds no more")
        #expect(encoded.hasPrefix(hasher.algorithm + "$"))
        #expect(PasswordHashers().recognizes(encoded) && hasher.recognizes(encoded))
        #expect(PasswordHashers().verify(password, encoded: encoded))
        for other in ["", password + "x", password.precomposedStringWithCanonicalMapping + " "] {
          #expect(!PasswordHashers().verify(other, encoded: encoded))
        }
      }
      let composed = try hasher.encode("é")
      #expect(!hasher.verify("e\u{301}", encoded: composed))
    }
  }

  @Test func `of plain bcrypt refuses a password that bcrypt would truncate`() throws {
    let hasher = BCryptPasswordHasher(isPrehashed: false, rounds: 4)
    let long = String(repeating: "x", count: 73)
    #expect(throws: PasswordHashingError.unsuitablePassword) { try hasher.encode(long) }
    #expect(throws: PasswordHashingError.unsuitablePassword) { try hasher.encode("a\0b") }
    #expect(!hasher.verify(long, encoded: try hasher.encode(String(long.dropLast()))))
    #expect(!hasher.verify("a\0b", encoded: try hasher.encode("a")))
    let user = UserAttributes(username: "", firstName: "", lastName: "", email: "")
    let length = try #require(hasher.maximumPasswordLength)
    #expect(MaximumBytesValidator(maximum: length).validate(String(long.dropLast()), user: user) == nil)
    #expect(MaximumBytesValidator(maximum: length).validate(long, user: user)?.code == "password_too_long")
  }

  @Test(arguments: [
    ("pbkdf2_sha256", ["iterations": 5], "pbkdf2_sha256$5$"), ("pbkdf2_sha1", ["iterations": 5], "pbkdf2_sha1$5$"),
    ("argon2", ["time_cost": 3, "memory_cost": 64, "parallelism": 1], "argon2$argon2id$v=19$m=64,t=3,p=1$"),
    ("scrypt", ["work_factor": 4, "block_size": 2, "parallelism": 1], "scrypt$4$"), ("bcrypt_sha256", ["rounds": 5], "bcrypt_sha256$$2b$05$"),
    ("bcrypt", ["rounds": 4], "bcrypt$$2b$04$"),
  ])
  func `has the cost that its options name`(_ algorithm: String, _ options: [String: Int], _ prefix: String) throws {
    let encoded = try PasswordHashers.make(algorithm, options: options).encode("password")
    #expect(encoded.hasPrefix(prefix))
    #expect(PasswordHashers().verify("password", encoded: encoded))
  }

  @Test(arguments: [
    ("rot13", [:], PasswordHasherOptionError.unknownAlgorithm),
    ("argon2", ["rounds": 1], .unknownOption("rounds", known: ["time_cost", "memory_cost", "parallelism"])),
    ("argon2", ["memory_cost": 8_388_608], .outOfBounds), ("argon2", ["parallelism": 0], .outOfBounds),
    ("scrypt", ["work_factor": 1000], .outOfBounds),
    ("bcrypt", ["rounds": 31], .outOfBounds), ("pbkdf2_sha1", ["iterations": 0], .outOfBounds),
  ])
  func `is not made at a cost that would not verify`(_ algorithm: String, _ options: [String: Int], _ expected: PasswordHasherOptionError) {
    #expect(throws: expected) { try PasswordHashers.make(algorithm, options: options) }
  }

  @Test func `has the length of its specimen, which matches no password`() throws {
    for hasher in cheapHashers {
      #expect(hasher.specimen.utf8.count == (try hasher.encode("password")).utf8.count)
      #expect(hasher.recognizes(hasher.specimen))
      #expect(!hasher.verify("password", encoded: hasher.specimen))
    }
  }

  @Test func `of an unusable password is recognized by its prefix alone`() {
    #expect(UnusablePassword.matches(UnusablePassword.make()))
    #expect(UnusablePassword.make().count == 41)
    #expect(!UnusablePassword.matches(""))
    #expect(!UnusablePassword.matches("garbage"))
  }
}

@Suite struct `The maximum length` {
  @Test func `counts code points, and a longer password is refused and never cut`() {
    let user = UserAttributes(username: "", firstName: "", lastName: "", email: "")
    #expect(MaximumLengthValidator().validate(String(repeating: "😀", count: 1024), user: user) == nil)
    let error = MaximumLengthValidator().validate(String(repeating: "a", count: 1025), user: user)
    #expect(error?.code == "password_too_long")
    #expect(error?.localizableMessage.parameters == ["max_length": .int(1024)])
  }
}
