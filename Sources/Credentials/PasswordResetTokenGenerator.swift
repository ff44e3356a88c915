import Crypto
public import Foundation
import Text

/// What a token is bound to. When any of it changes, every token made for it is dead.
public struct TokenSubject: Sendable, Equatable {
  /// The primary key.
  public var id: UserID
  /// The encoded password hash, as stored.
  public var password: String
  /// The last login as Django prints it, `YYYY-MM-DD HH:MM:SS`, or nil if the user never logged in.
  public var lastLogin: String?
  /// The stored mail address; empty if there is none.
  public var email: String

  public init(id: UserID, password: String, lastLogin: String?, email: String) {
    self.id = id
    self.password = password
    self.lastLogin = lastLogin
    self.email = email
  }
}

/// Makes and checks Django's one-time tokens, byte for byte those of
/// `django.contrib.auth.tokens.PasswordResetTokenGenerator`: `<base36 time>-<every second hex digit of an HMAC>`.
///
/// It is stateless: nothing is stored, so nothing at rest can reset a password.
public struct PasswordResetTokenGenerator: Sendable {
  /// What ``check(_:for:at:)`` found.
  public enum Verdict: Sendable, Equatable {
    /// The token is genuine and in time, until `expiresAt` inclusive.
    case valid(expiresAt: Date)
    /// The token is genuine, but too old.
    case expired
    /// Anything else: forged, malformed, already used, or made for another state of the user.
    case invalid
  }

  /// Django's `key_salt`.
  private static let keySalt = "django.contrib.auth.tokens.PasswordResetTokenGenerator"
  /// 2001-01-01, from which Django counts, in Unix seconds.
  private static let epoch = 978_307_200

  /// One for each key, ready to take a message: the keys are hashed once, not for every token.
  private let codes: [HMAC<SHA256>]
  private let timeout: Int
  private let timeZone: TimeZone

  /// - Parameters:
  ///   - secretKey: Django's `SECRET_KEY`; makes and checks tokens.
  ///   - fallbacks: Django's `SECRET_KEY_FALLBACKS`; only check tokens.
  ///   - timeout: Django's `PASSWORD_RESET_TIMEOUT`, in seconds.
  ///   - timeZone: Django's `TIME_ZONE`: the tokens' clock is the wall clock there.
  public init(secretKey: String, fallbacks: [String] = [], timeout: Int, timeZone: TimeZone = .gmt) {
    codes = ([secretKey] + fallbacks).map { secret in
      HMAC(key: SymmetricKey(data: SHA256.hash(data: Data((Self.keySalt + secret).utf8))))
    }
    self.timeout = timeout
    self.timeZone = timeZone
  }

  /// A token for `subject`, dated `now`.
  public func makeToken(for subject: TokenSubject, at now: Date) -> String {
    String(decoding: Self.token(for: subject, timestamp: wallClock(at: now), codes[0]), as: UTF8.self)
  }

  /// Says whether `token` was made for `subject` with one of the keys, and whether it is in time.
  ///
  /// The whole token is made anew and compared in constant time, so no second spelling of the time passes. As in Django a token is too old
  /// only when *more* than the timeout has gone by, and one dated in the future is valid.
  public func check(_ token: String, for subject: TokenSubject, at now: Date) -> Verdict {
    guard let timestamp = Self.timestamp(of: token) else { return .invalid }
    let genuine = codes.contains { code in
      constantTimeEqual(token.utf8, Self.token(for: subject, timestamp: timestamp, code))
    }
    guard genuine else { return .invalid }
    let remaining = timeout - (wallClock(at: now) - timestamp)
    guard remaining >= 0 else { return .expired }
    return .valid(expiresAt: Date(timeIntervalSince1970: now.timeIntervalSince1970.rounded(.down) + Double(remaining)))
  }

  /// Django's `_num_seconds(_now())`: whole seconds since 2001 on the wall clock of the time zone.
  private func wallClock(at now: Date) -> Int {
    Int(now.timeIntervalSince1970.rounded(.down)) + timeZone.secondsFromGMT(for: now) - Self.epoch
  }

  private static func timestamp(of token: String) -> Int? {
    let parts = token.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    // Django refuses base-36 numbers of more than 13 digits; so many digits bound our work too.
    guard parts.count == 2, (1...13).contains(parts[0].count), let timestamp = Int(Substring(parts[0]), radix: 36), timestamp >= 0 else { return nil }
    return timestamp
  }

  private static func token(for subject: TokenSubject, timestamp: Int, _ code: HMAC<SHA256>) -> [UInt8] {
    var message: [UInt8] = []
    message.reserveCapacity(256)
    message += subject.id.text.utf8
    message += subject.password.utf8
    if let lastLogin = subject.lastLogin { message += lastLogin.utf8 }
    message += String(timestamp).utf8
    message += subject.email.utf8
    var code = code
    code.update(data: message)
    var token = Array(String(timestamp, radix: 36).utf8)
    token.append(UInt8(ascii: "-"))
    // `hexdigest()[::2]`: the high half of each byte.
    code.finalize().withUnsafeBytes { for byte in $0 { token.append(hexDigit(byte >> 4)) } }
    return token
  }
}
