import Crypto
import Foundation
import Text

/// Turns an address or user name into a key that stands for it where the name itself must not be kept.
///
/// The hash is keyed with the secret key: a stolen table of hashes cannot be compared with a list of addresses.
public struct IdentifierHasher: Sendable {
  private let code: HMAC<SHA256>

  public init(secretKey: String) {
    code = HMAC(key: SymmetricKey(data: SHA256.hash(data: Data(("password-reset.IdentifierHasher" + secretKey).utf8))))
  }

  /// 32 hex digits, the same for every spelling that Django takes for the same address.
  public func key(for identifier: String) -> String {
    var code = code
    code.update(data: identifier.caselessKey)
    return hexadecimal(Array(code.finalize().prefix(16)))
  }
}
