import Crypto
import Foundation

/// Turns an address or user name into a key that stands for it where the name itself must not be kept.
///
/// The hash is keyed with the secret key: a stolen table of hashes cannot be compared with a list of addresses.
public struct IdentifierHasher: Sendable {
  private let key: SymmetricKey

  public init(secretKey: String) {
    key = SymmetricKey(data: SHA256.hash(data: Data(("password-reset.IdentifierHasher" + secretKey).utf8)))
  }

  /// 32 hex digits, the same for every spelling that Django takes for the same address.
  public func key(for identifier: String) -> String {
    let mac = HMAC<SHA256>.authenticationCode(for: Data(identifier.caselessKey), using: key)
    return mac.prefix(16).map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
  }
}
