import Crypto
import Foundation
import Text

/// Turns an address, a user name or a client's network into a key, for records that must not contain it.
///
/// The key is an HMAC with the secret key, so a stolen table of keys cannot be compared with a list of addresses.
public struct IdentifierHasher: Sendable {
  private let code: HMAC<SHA256>
  /// Another key, so that no address or user name has the key of a client.
  private let clientCode: HMAC<SHA256>

  /// Creates a hasher whose keys depend on `secretKey`.
  public init(secretKey: String) {
    func code(_ purpose: String) -> HMAC<SHA256> { HMAC(key: SymmetricKey(data: SHA256.hash(data: Data((purpose + secretKey).utf8)))) }
    self.code = code("password-reset.IdentifierHasher")
    clientCode = code("password-reset.ClientHasher")
  }

  /// Returns the key, 32 hexadecimal digits. All spellings that Django considers the same address have the same key.
  public func key(for identifier: String) -> String {
    var code = code
    code.update(data: identifier.caselessKey)
    return hexadecimal(Array(code.finalize().prefix(16)))
  }

  /// Returns the key of a client's network, 32 hexadecimal digits.
  public func key(forClient network: UInt64) -> String {
    var code = clientCode
    withUnsafeBytes(of: network.bigEndian) { code.update(data: $0) }
    return hexadecimal(Array(code.finalize().prefix(16)))
  }
}
