package import Text

/// Which addresses a request may connect to: public ones, and private ones only if the operator lists them. Otherwise a URL or a name
/// in the DNS could lead to services that trust the local network.
package struct AddressRules: Sendable, Equatable {
  /// Networks that are allowed although they are private.
  private let allowed: [IPNetwork]

  package init(allowed: [IPNetwork] = []) { self.allowed = allowed }

  /// Whether a request may connect to the address.
  package func permits(_ address: IPAddress) -> Bool {
    if allowed.contains(where: { $0.contains(address) }) { return true }
    // A NAT64 gateway connects to the IPv4 address in it.
    if let translated = address.translatedV4 { return permits(translated) }
    guard address.isV4 || Self.globalIPv6.contains(where: { $0.contains(address) }) else { return false }
    return !Self.special.contains { $0.contains(address) }
  }

  package static func isLoopback(_ address: IPAddress) -> Bool { loopback.contains { $0.contains(address) } }

  private static let loopback = networks("127.0.0.0/8", "::1")

  /// The only part of IPv6 that is assigned to the public internet.
  private static let globalIPv6 = networks("2000::/3")

  /// The networks that IANA's registries of special-purpose addresses do not call globally reachable, multicast, and 168.63.129.16, by
  /// which Azure's machines reach their host. The metadata services of other clouds are in link-local or private networks.
  private static let special = networks(
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    // Protocol assignments with Teredo, documentation, and 6to4, which contains an IPv4 address.
    "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")

  private static func networks(_ texts: Substring...) -> [IPNetwork] { texts.compactMap { IPNetwork($0) } }
}
