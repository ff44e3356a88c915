import Foundation
import Text

/// Encodes and decodes a user's primary key for links, like Django's `urlsafe_base64_encode(str(pk))`.
public enum UIDB64 {
  /// The longest key that is decoded, in bytes, so that a link cannot make the service work on more.
  private static let maximumBytes = 255

  /// Returns the key in URL-safe base64 without padding: `1` becomes `MQ`, `100` becomes `MTAw`.
  public static func encode(_ id: UserID) -> String {
    let base64 = Data(id.text.utf8).base64EncodedString().utf8.prefix { $0 != UInt8(ascii: "=") }
    return String(
      decoding: base64.map { $0 == UInt8(ascii: "+") ? UInt8(ascii: "-") : $0 == UInt8(ascii: "/") ? UInt8(ascii: "_") : $0 }, as: UTF8.self)
  }

  /// Returns the key that `uidb64` encodes, or `nil` unless it is exactly what ``encode(_:)`` writes for that key.
  ///
  /// Django's decoder accepts more spellings of a key (padding, stray characters). A link never has them, so this
  /// function refuses them.
  public static func decode(_ uidb64: String) -> UserID? {
    let length = uidb64.utf8.count
    guard (1...maximumBytes * 4 / 3 + 1).contains(length) else { return nil }
    let padding = repeatElement(UInt8(ascii: "="), count: (4 - length % 4) % 4)
    let base64 = uidb64.utf8.map { $0 == UInt8(ascii: "-") ? UInt8(ascii: "+") : $0 == UInt8(ascii: "_") ? UInt8(ascii: "/") : $0 } + padding
    guard let bytes = Data(base64Encoded: Data(base64)), let text = String(data: bytes, encoding: .utf8) else { return nil }
    let id = UserID(text)
    return encode(id).isIdentical(to: uidb64) ? id : nil
  }
}
