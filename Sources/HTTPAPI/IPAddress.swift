import Foundation
import NIOCore

/// An IPv6 address. An IPv4 address is represented as `::ffff:a.b.c.d`, so that both spellings are equal.
public struct IPAddress: Sendable, Hashable {
  private let bits: UInt128

  private static let mappedPrefix = UInt128(0xFFFF) << 32

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

  private init(_ address: in_addr) { bits = Self.mappedPrefix | UInt128(UInt32(bigEndian: address.s_addr)) }

  private init(_ address: in6_addr) {
    bits = withUnsafeBytes(of: address) { UInt128(bigEndian: $0.loadUnaligned(as: UInt128.self)) }
  }

  /// Returns `nil` if the socket address is not an IP address.
  init?(_ address: SocketAddress?) {
    switch address {
    case .v4(let address): self.init(address.address.sin_addr)
    case .v6(let address): self.init(address.address.sin6_addr)
    case .unixDomainSocket, nil: return nil
    }
  }

  var isV4: Bool { bits >> 32 == 0xFFFF }

  /// Identifies a client for rate limits and in the audit: by its IPv4 address, or by the /64 of its IPv6 address, because a client
  /// usually controls the whole /64.
  public var network: UInt64 {
    // No IPv6 network starts with ffff:ffff.
    isV4 ? 0xFFFF_FFFF << 32 | UInt64(truncatingIfNeeded: bits) & 0xFFFF_FFFF : UInt64(bits >> 64)
  }

  func sharesPrefix(with other: IPAddress, bits count: Int) -> Bool { count == 0 || (bits ^ other.bits) >> (128 - count) == 0 }
}
