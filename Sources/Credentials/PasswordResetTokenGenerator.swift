import Crypto
public import Foundation
import Text

/// The state of a user that a token is bound to. When any of it changes, all tokens made for it become invalid.
public struct TokenSubject: Sendable, Equatable {
  /// The primary key.
  public var id: UserID
  /// The encoded password hash, as stored.
  public var password: String
  /// The last sign-in as Django prints it, `YYYY-MM-DD HH:MM:SS`, or `nil` if the user never signed in.
  public var lastLogin: String?
  /// The stored email address, which is empty if there is none.
  public var email: String
  /// What django-allauth's tokens are bound to in addition, or `nil` for Django's own tokens.
  public var addresses: AddressSet?
  /// The last cancelled second: a token with this time or an earlier one is invalid. `nil` if the user's links were never
  /// cancelled.
  public var cancelledThrough: TokenTime?

  /// Creates a subject from the user's stored values.
  public init(
    id: UserID, password: String, lastLogin: String?, email: String, addresses: AddressSet? = nil, cancelledThrough: TokenTime? = nil
  ) {
    self.id = id
    self.password = password
    self.lastLogin = lastLogin
    self.email = email
    self.addresses = addresses
    self.cancelledThrough = cancelledThrough
  }

  /// Returns what the token of a cancel link is bound to: only the key, because such a link must outlive a change of the
  /// password.
  ///
  /// The word separates the key from the time in the message. Without it, user 1 could use a token as user 12.
  public static func ofCancelLink(_ id: UserID) -> TokenSubject { TokenSubject(id: id, password: "cancel", lastLogin: nil, email: "") }
}

/// Makes and checks one-time tokens that equal those of Django's `PasswordResetTokenGenerator` byte for byte, or those of
/// django-allauth's `EmailAwarePasswordResetTokenGenerator` if the subject has ``TokenSubject/addresses``.
///
/// A token is `<base36 time>-<every second hex digit of an HMAC>`. The generator stores nothing, so no stored data can
/// reset a password.
public struct PasswordResetTokenGenerator: Sendable {
  /// The result of ``check(_:for:at:)``.
  public enum Verdict: Sendable, Equatable {
    /// The token is genuine and can be used up to and including `expiresAt`.
    case valid(expiresAt: Date)
    /// The token is genuine but too old.
    case expired
    /// The token is forged, malformed, already used, or was made for another state of the user.
    case invalid
  }

  /// The use of a token. A token for one use is forged for any other.
  public enum Use: Sendable {
    /// To set a password.
    case reset
    /// To cancel the reset links of the user.
    case cancel

    /// Django's `key_salt`, from which the key is made. Django's own is that of reset links.
    fileprivate var keySalt: String {
      switch self {
      case .reset: "django.contrib.auth.tokens.PasswordResetTokenGenerator"
      case .cancel: "password-reset.CancelToken"
      }
    }
  }

  /// How long a cancel link works, in seconds: seven days.
  public static let cancelTimeout = 7 * 86400

  private static let epoch = TokenTime.epoch

  /// An HMAC for each key, ready for a message, so that the keys are not hashed for every token.
  private let codes: [HMAC<SHA256>]
  private let timeout: Int
  private let timeZone: TimeZone
  private let offsets: ZoneOffsets

  /// Creates a generator with the values of Django's settings.
  /// - Parameters:
  ///   - secretKey: `SECRET_KEY`, which makes and checks tokens.
  ///   - fallbacks: `SECRET_KEY_FALLBACKS`, which only check tokens.
  ///   - timeout: `PASSWORD_RESET_TIMEOUT`, in seconds.
  ///   - timeZone: `TIME_ZONE`. Tokens contain the wall-clock time of this zone.
  ///   - use: What the tokens can do.
  public init(secretKey: String, fallbacks: [String] = [], timeout: Int, timeZone: TimeZone = .gmt, use: Use = .reset) {
    codes = ([secretKey] + fallbacks).map { secret in
      HMAC(key: SymmetricKey(data: SHA256.hash(data: Data((use.keySalt + secret).utf8))))
    }
    self.timeout = timeout
    self.timeZone = timeZone
    offsets = ZoneOffsets(timeZone)
  }

  /// Returns a token for `subject` with the time `now`.
  public func makeToken(for subject: TokenSubject, at now: Date) -> String {
    String(decoding: Self.token(for: subject, timestamp: timestamp(for: subject, at: now), codes[0]), as: UTF8.self)
  }

  /// Returns how many seconds a token made for `subject` at `now` can be used: the timeout, or longer if the clock is put back
  /// meanwhile, or if links were cancelled in the same second.
  public func lifetime(ofTokenFor subject: TokenSubject, madeAt now: Date) -> Int {
    let start = Int(now.timeIntervalSince1970.rounded(.down))
    return lastSecond(until: timestamp(for: subject, at: now) + timeout, from: start) - start
  }

  /// Returns the last second to cancel so that all tokens that were made until `now` become invalid.
  ///
  /// The wall clock may have been put back lately, or the end of the timeout may just have passed a time when it will be: then earlier
  /// tokens have later times than one that is made now. No time zone puts the clock back by more than three hours, except for one that
  /// moves across the date line.
  public func lastTokenTime(until now: Date) -> TokenTime {
    let earlier = now.addingTimeInterval(-3 * 3600)
    return TokenTime(seconds: max(timestamp(at: now), timestamp(at: earlier) + 3 * 3600))
  }

  /// Returns the time for a token made at `now`, which is after the cancelled ones: a user who asks for a link in the
  /// second in which links were cancelled must get one that works.
  private func timestamp(for subject: TokenSubject, at now: Date) -> Int {
    max(timestamp(at: now), (subject.cancelledThrough?.seconds ?? -1) + 1)
  }

  /// Returns the time for a token made at `now`.
  ///
  /// If the clock is put forward before the token expires, Django's arithmetic would end its life early. A time that is
  /// ahead by as much gives it its full life, and is valid until then as well.
  private func timestamp(at now: Date) -> Int {
    let wall = wallClock(at: now)
    return wall + max(0, wallClock(at: now.addingTimeInterval(Double(timeout))) - wall - timeout)
  }

  /// Returns whether `token` was made for `subject` with one of the keys, and whether it has expired.
  ///
  /// The whole token is made again and compared in constant time, so only one spelling of its time is accepted. As in
  /// Django, a token expires when *more* than the timeout has passed, and a token with a time in the future is valid.
  public func check(_ token: String, for subject: TokenSubject, at now: Date) -> Verdict {
    guard let timestamp = TokenTime(of: token)?.seconds else { return .invalid }
    let genuine = codes.contains { code in
      constantTimeEqual(token.utf8, Self.token(for: subject, timestamp: timestamp, code))
    }
    guard genuine, timestamp > subject.cancelledThrough?.seconds ?? -1 else { return .invalid }
    guard timeout - (wallClock(at: now) - timestamp) >= 0 else { return .expired }
    let last = lastSecond(until: timestamp + timeout, from: Int(now.timeIntervalSince1970.rounded(.down)))
    return .valid(expiresAt: Date(timeIntervalSince1970: Double(last)))
  }

  /// Returns the last second, counted from `start` on, before the wall clock shows more than `deadline` for the first time.
  private func lastSecond(until deadline: Int, from start: Int) -> Int {
    var period = offsets.period(at: start)
    while true {
      let last = deadline + Self.epoch - period.offset
      guard last >= period.end - 1 else { return last }
      let next = offsets.period(at: period.end)
      // The clock is put forward, past the deadline.
      guard period.end + next.offset - Self.epoch <= deadline else { return period.end - 1 }
      period = next
    }
  }

  /// Returns the whole seconds since 2001 on the wall clock of the time zone, like Django's `_num_seconds(_now())`.
  public func wallClock(at now: Date) -> Int {
    Int(now.timeIntervalSince1970.rounded(.down)) + timeZone.secondsFromGMT(for: now) - Self.epoch
  }

  private static func token(for subject: TokenSubject, timestamp: Int, _ code: HMAC<SHA256>) -> [UInt8] {
    var message: [UInt8] = []
    message.reserveCapacity(256)
    message += subject.id.text.utf8
    message += subject.password.utf8
    if let lastLogin = subject.lastLogin { message += lastLogin.utf8 }
    message += String(timestamp).utf8
    message += subject.email.utf8
    if let addresses = subject.addresses { message += addresses.text.utf8 }
    var code = code
    code.update(data: message)
    var token = Array(String(timestamp, radix: 36).utf8)
    token.append(UInt8(ascii: "-"))
    // The high half of each byte, like Django's `hexdigest()[::2]`.
    code.finalize().withUnsafeBytes { for byte in $0 { token.append(hexDigit(byte >> 4)) } }
    return token
  }
}
