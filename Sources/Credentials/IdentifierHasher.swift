import Crypto
import Foundation
import Text

/// Turns an address or user name into a key, for records that must not contain the address or name itself.
///
/// The key is an HMAC with the secret key, so a stolen table of keys cannot be compared with a list of addresses.
public struct IdentifierHasher: Sendable {
  private let code: HMAC<SHA256>

  /// Creates a hasher whose keys depend on `secretKey`.
  public init(secretKey: String) {
    code = HMAC(key: SymmetricKey(data: SHA256.hash(data: Data(("password-reset.IdentifierHasher" + secretKey).utf8))))
  }

  /// Returns the key, 32 hexadecimal digits. All spellings that Django considers the same address have the same key.
  public func key(for identifier: String) -> String {
    var code = code
    code.update(data: identifier.caselessKey)
    return hexadecimal(Array(code.finalize().prefix(16)))
  }
}
