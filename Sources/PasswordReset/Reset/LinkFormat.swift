public import Credentials
import Foundation
import Text

/// The format of reset links: Django's or django-allauth's.
///
/// It decides how a link names a user. What the token is bound to follows from ``User/addresses``.
public enum LinkFormat: Sendable, Equatable {
  /// Django's: the key in base64, as `uidb64`.
  case django
  /// django-allauth's: an integer in base 36, a UUID as 32 hexadecimal digits, and text as it is.
  case allauth(UserKey)

  /// Returns how a link names the user with this key.
  public func encode(_ id: UserID) -> String {
    switch self {
    case .django: UIDB64.encode(id)
    case .allauth(.integer): id.integer.map(UIDB36.encode) ?? id.text
    case .allauth(.uuid), .allauth(.uuidDigits): UserKey.uuidDigits.stored(id)
    case .allauth(.text): Self.escaped(id.text)
    }
  }

  /// Returns the key that a link names, or `nil` unless it is exactly what ``encode(_:)`` writes for that key.
  func decode(_ uid: String) -> UserID? {
    let id: UserID? =
      switch self {
      case .django: UIDB64.decode(uid)
      case .allauth(.integer): UIDB36.decode(uid).map { UserID($0) }
      case .allauth(.uuid), .allauth(.uuidDigits): UserKey.uuidDigits.id(stored: uid)
      case .allauth(.text): uid.removingPercentEncoding.map { UserID($0) }
      }
    return id.flatMap { encode($0).isIdentical(to: uid) ? $0 : nil }
  }

  /// Writes everything but letters and digits as `%2D`, so that the first hyphen in a link ends the key. allauth itself
  /// cannot read a link to such a key.
  private static func escaped(_ key: String) -> String { key.addingPercentEncoding(withAllowedCharacters: plain) ?? "" }

  private static let plain = CharacterSet(charactersIn: "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
}
