/// A network such as `10.0.0.0/8`, or a single address.
package struct IPNetwork: Sendable, Equatable {
  private let address: IPAddress
  private let prefixLength: Int

  package init?(_ text: Substring) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let address = IPAddress(parts[0]) else { return nil }
    self.address = address
    guard parts.count == 2 else {
      prefixLength = 128
      return
    }
    let length = address.isV4 ? 32 : 128
    guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let bits = Int(parts[1]), bits <= length else { return nil }
    prefixLength = 128 - length + bits
  }

  /// Whether the network is larger than any that an operator can own: more than an IPv4 /8, or more than an IPv6 /16 except
  /// for private addresses.
  package var coversEveryone: Bool {
    if address.isV4, prefixLength >= 96 { return prefixLength < 104 }
    return prefixLength < 16 && !isPrivate || containsAllIPv4
  }

  private var isPrivate: Bool {
    Self.privateNetworks.contains { $0.map { prefixLength >= $0.prefixLength && $0.contains(address) } ?? false }
  }

  private static let privateNetworks = [IPNetwork("fc00::/7"), IPNetwork("fe80::/10")]

  private var containsAllIPv4: Bool { prefixLength <= 96 && IPAddress("0.0.0.0").map(contains) == true }

  package func contains(_ other: IPAddress) -> Bool { other.sharesPrefix(with: address, bits: prefixLength) }
}
