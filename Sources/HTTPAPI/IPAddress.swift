import NIOCore
import Text

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// An address of IPv6; one of IPv4 stands in it as `::ffff:a.b.c.d`, so that both spellings are one.
public struct IPAddress: Sendable, Hashable {
  private let bits: UInt128

  private static let mappedPrefix = UInt128(0xFFFF) << 32

  /// Nil if `text` is no address, as inet_pton(3) reads them.
  public init?(_ text: some StringProtocol) {
    let text = String(text)
    var v4 = in_addr()
    var v6 = in6_addr()
    if inet_pton(AF_INET, text, &v4) == 1 {
      bits = Self.mappedPrefix | UInt128(UInt32(bigEndian: v4.s_addr))
    } else if inet_pton(AF_INET6, text, &v6) == 1 {
      bits = withUnsafeBytes(of: &v6) { UInt128(bigEndian: $0.loadUnaligned(as: UInt128.self)) }
    } else {
      return nil
    }
  }

  /// Nil if a socket has no such address.
  init?(_ address: SocketAddress?) {
    // An address of a link names its interface too.
    guard let text = address?.ipAddress?.prefix(while: { $0 != "%" }) else { return nil }
    self.init(text)
  }

  var isV4: Bool { bits >> 32 == 0xFFFF }

  /// What a limit counts as one client: an address of IPv4, the /64 of one of IPv6, as whoever has one such address commonly has all of it.
  var client: UInt64 {
    // No network of IPv6 begins with ffff:ffff.
    isV4 ? 0xFFFF_FFFF << 32 | UInt64(truncatingIfNeeded: bits) & 0xFFFF_FFFF : UInt64(bits >> 64)
  }

  fileprivate func starts(with other: IPAddress, bits count: Int) -> Bool { count == 0 || (bits ^ other.bits) >> (128 - count) == 0 }
}

/// A network such as `10.0.0.0/8`, or one address.
struct IPNetwork: Sendable, Equatable {
  private let address: IPAddress
  private let prefix: Int

  init?(_ text: Substring) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let address = IPAddress(parts[0]) else { return nil }
    let length = address.isV4 ? 32 : 128
    guard parts.count == 2 else {
      self.address = address
      prefix = 128
      return
    }
    guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let bits = Int(parts[1]), bits <= length else { return nil }
    self.address = address
    prefix = 128 - length + bits
  }

  func contains(_ other: IPAddress) -> Bool { other.starts(with: address, bits: prefix) }
}

/// The proxies whose word is taken for where a request comes from.
public struct TrustedProxies: Sendable, Equatable {
  public static let none = TrustedProxies(networks: [])

  private let networks: [IPNetwork]

  private init(networks: [IPNetwork]) { self.networks = networks }

  /// Reads addresses and networks separated by commas: `10.0.0.0/8, ::1`. Nil if one of them is neither.
  public init?(_ text: String) {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { IPNetwork($0.trimmed) }
    networks = parts.compactMap(\.self)
    guard networks.count == parts.count else { return nil }
  }

  /// Where a request comes from: the peer, or, if that is a proxy of ours, the last address in `X-Forwarded-For` that is none. Whatever stands to the
  /// left of it was written by a stranger.
  func client(peer: IPAddress?, forwardedFor: some Sequence<String>) -> IPAddress? {
    guard !networks.isEmpty, var client = peer, isTrusted(client) else { return peer }
    for hop in forwardedFor.flatMap({ $0.utf8.split(separator: UInt8(ascii: ",")) }).reversed() {
      guard let address = Self.address(Substring(hop)) else { break }
      client = address
      if !isTrusted(address) { break }
    }
    return client
  }

  private func isTrusted(_ address: IPAddress) -> Bool { networks.contains { $0.contains(address) } }

  /// An address as proxies write it, some of them with the port. Not a character of it may be another's: what looks like a comma to us must be one to
  /// the proxy.
  private static func address(_ hop: Substring) -> IPAddress? {
    let text = hop.trimmed
    guard text.utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
    if let match = text.wholeMatch(of: /([0-9.]+):[0-9]+/) ?? text.wholeMatch(of: /\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?/) { return IPAddress(match.1) }
    return IPAddress(text)
  }
}
