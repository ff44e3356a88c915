package import Foundation

/// An IPv6 address. An IPv4 address is represented as `::ffff:a.b.c.d`, so that both spellings are equal.
public struct IPAddress: Sendable, Hashable {
  private let bits: UInt128

  private static let mappedPrefix = UInt128(0xFFFF) << 32
  /// `64:ff9b::/96`, by which NAT64 gateways represent IPv4 addresses (RFC 6052).
  private static let translationPrefix = UInt128(0x0064_FF9B) << 96

  /// Reads an address as inet_pton(3) does. Returns `nil` if the text is not one.
  public init?(_ text: some StringProtocol) {
    let text = String(text)
    var v4 = in_addr()
    var v6 = in6_addr()
    if inet_pton(AF_INET, text, &v4) == 1 {
      self.init(v4)
    } else if inet_pton(AF_INET6, text, &v6) == 1 {
      self.init(v6)
    } else {
      return nil
    }
  }

  package init(_ address: in_addr) { bits = Self.mappedPrefix | UInt128(UInt32(bigEndian: address.s_addr)) }

  package init(_ address: in6_addr) {
    bits = withUnsafeBytes(of: address) { UInt128(bigEndian: $0.loadUnaligned(as: UInt128.self)) }
  }

  package init(_ address: sockaddr_in) { self.init(address.sin_addr) }

  package init(_ address: sockaddr_in6) { self.init(address.sin6_addr) }

  private init(bits: UInt128) { self.bits = bits }

  package var isV4: Bool { bits >> 32 == 0xFFFF }

  /// The IPv4 address that a NAT64 gateway connects to instead of this address, or `nil` if this is not such an address.
  package var translatedV4: IPAddress? {
    bits >> 32 == Self.translationPrefix >> 32 ? IPAddress(bits: Self.mappedPrefix | bits & 0xFFFF_FFFF) : nil
  }

  /// Identifies a client for rate limits and in the audit: by its IPv4 address, or by the /64 of its IPv6 address, because a client
  /// usually controls the whole /64.
  package var network: UInt64 {
    // No IPv6 network starts with ffff:ffff.
    isV4 ? 0xFFFF_FFFF << 32 | UInt64(truncatingIfNeeded: bits) & 0xFFFF_FFFF : UInt64(bits >> 64)
  }

  func sharesPrefix(with other: IPAddress, bits count: Int) -> Bool { count == 0 || (bits ^ other.bits) >> (128 - count) == 0 }
}

extension IPAddress: CustomStringConvertible {
  public var description: String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let address = withUnsafeBytes(of: bits.bigEndian) { Array($0) }
    _ = isV4 ? inet_ntop(AF_INET, Array(address.suffix(4)), &text, socklen_t(text.count)) : inet_ntop(AF_INET6, address, &text, socklen_t(text.count))
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
