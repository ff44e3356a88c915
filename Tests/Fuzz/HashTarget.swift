@testable import Credentials

extension FuzzTarget {
  /// Stored password hashes: hostile ones are refused, and what is recognized can be checked and written again.
  static let hashes = FuzzTarget("hashes") { bytes in
    let (format, rest) = bytes.choose(passwordFormats)
    let stored = rest.text
    let hashers = PasswordHashers(preferred: BCryptPasswordHasher(isPrehashed: false), format: format)
    _ = format.algorithm(of: stored)
    guard hashers.recognizes(stored) else {
      try expect(!hashers.verify("secret", encoded: stored), "no password matches a hash that is not recognized: \(stored)")
      return
    }
    try expect(!format.isUnusable(stored), "a hash that is recognized is usable: \(stored)")
    let encoding = format.encoding(of: stored)
    try expect(hashers.recognizes(format.stored(encoding)), "a hash that is recognized can be written again: \(stored)")
    guard isCheap(encoding) else { return }
    let matches = ["secret", "secret2"].filter { hashers.verify($0, encoded: stored) }
    try expect(matches.count < 2, "two passwords do not match one hash: \(stored)")
  }

  private static let passwordFormats: [PasswordFormat] = {
    var spring = PasswordFormat.CryptOptions()
    (spring.ident, spring.prefix) = (.twoA, "{bcrypt}")
    return [.django, .crypt(.init()), .crypt(spring)]
  }()

  /// Whether a check takes less than a few milliseconds.
  private static func isCheap(_ encoding: String) -> Bool {
    let fields = encoding.split(separator: "$", omittingEmptySubsequences: false)
    switch fields[0] {
    case "scrypt": return [1, 3, 4].reduce(1) { $0 * (Int(fields[$1]) ?? 0) } <= 512
    case "bcrypt", "bcrypt_sha256": return fields.contains("04")
    case "argon2": return encoding.firstMatch(of: /m=(\d+),t=(\d+)/).map { (Int($0.1) ?? 0) * (Int($0.2) ?? 0) <= 128 } ?? false
    default: return (Int(fields[1]) ?? 0) <= 200
    }
  }
}
