import Credentials
import Foundation
@testable import PasswordReset

extension FuzzTarget {
  /// What is in a link: a key that decodes is encoded in the same way again, and only a genuine token is valid.
  static let links = FuzzTarget("links") { bytes in
    let (zone, rest) = bytes.choose(zones)
    let text = rest.text
    for format in formats {
      if let id = format.decode(text) { try expect(format.encode(id).utf8.elementsEqual(text.utf8), "\(text) encodes \(id) in \(format)") }
    }
    if (1...255).contains(text.utf8.count) {
      try expect(UIDB64.decode(UIDB64.encode(UserID(text))) == UserID(text), "every key can be encoded: \(text)")
    }
    for key in keys {
      guard let id = key.id(text) else { continue }
      try expect(key.id(stored: key.stored(id)) == id, "a key can be stored: \(id)")
      let format = LinkFormat.allauth(key)
      if id.integer.map({ $0 >= 0 }) ?? true { try expect(format.decode(format.encode(id)) == id, "a link can name the key \(id) in \(format)") }
    }
    try checkToken(text, generator: generators[zone] ?? generators[.gmt], rest)
  }

  private static let keys: [UserKey] = [.integer, .uuid, .uuidDigits, .text]
  private static let formats = [LinkFormat.django] + keys.map(LinkFormat.allauth)
  private static let zones = ["GMT", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"].compactMap(TimeZone.init(identifier:))
  private static let generators = Dictionary(
    uniqueKeysWithValues: zones.map { ($0, PasswordResetTokenGenerator(secretKey: "fuzz", timeout: 3600, timeZone: $0)) })
  private static let subject = TokenSubject(id: UserID(1), password: "pbkdf2_sha256$1$a$b", lastLogin: nil, email: "a@example.com")

  private static func checkToken(_ text: String, generator: PasswordResetTokenGenerator?, _ bytes: [UInt8]) throws {
    guard let generator else { return }
    // The time is before 2069, because checks go through all changes of the clock until a token expires.
    let seconds = Double(bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) } >> 1)
    let now = Date(timeIntervalSince1970: 978_307_200 + seconds)
    try expect(generator.check(text, for: subject, at: now) == .invalid, "no input is a genuine token: \(text)")
    let token = generator.makeToken(for: subject, at: now)
    guard case .valid(let end) = generator.check(token, for: subject, at: now) else { throw Broken(description: "a new token is valid: \(token)") }
    try expect(end.timeIntervalSince(now) >= 3599, "a new token is valid for an hour: \(token), until \(end)")
    // A change of the clock may lengthen the time, never shorten it.
    guard case .valid = generator.check(token, for: subject, at: end) else { throw Broken(description: "\(token) is valid until \(end)") }
    try expect(generator.check(token, for: subject, at: end + 1) == .expired, "\(token) expires after \(end)")
    var changed = Array(token.utf8)
    if bytes.count > 5 { changed[Int(bytes[4]) % changed.count] = bytes[5] }
    guard changed != Array(token.utf8) else { return }
    try expect(generator.check(changed.text, for: subject, at: now) == .invalid, "a changed token is forged: \(changed.text)")
  }
}
