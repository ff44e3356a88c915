import Foundation
import Text

/// Django's `urlsafe_base64_encode(str(pk))`: how a user's primary key stands in a link.
public enum UIDB64 {
  /// `1` is `MQ`, `100` is `MTAw`.
  public static func encode(_ id: Int64) -> String {
    // Of digits, base 64 makes neither a plus nor a slash.
    String(Data(String(id).utf8).base64EncodedString().prefix { $0 != "=" })
  }

  /// The key that `uidb64` stands for; nil unless it is exactly what ``encode(_:)`` writes for a key that is not negative.
  ///
  /// Django's decoder takes more spellings of a key (padding, stray characters); a link never has them, so they are refused.
  public static func decode(_ uidb64: String) -> Int64? {
    // 19 digits, the longest 64-bit key, take 26 characters.
    guard (1...26).contains(uidb64.utf8.count) else { return nil }
    let padding = String(repeating: "=", count: (4 - uidb64.utf8.count % 4) % 4)
    guard let bytes = Data(base64Encoded: uidb64 + padding), let id = Int64(String(decoding: bytes, as: UTF8.self)), id >= 0 else { return nil }
    return encode(id).isIdentical(to: uidb64) ? id : nil
  }
}
