import Text

/// The proxies whose `X-Forwarded-For` headers are trusted.
public struct TrustedProxies: Sendable, Equatable {
  public static let none = TrustedProxies(networks: [])

  private let networks: [IPNetwork]

  private init(networks: [IPNetwork]) { self.networks = networks }

  /// Reads addresses and networks separated by commas, such as `10.0.0.0/8, ::1`. Returns `nil` if one of them is invalid.
  public init?(_ text: String) {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { IPNetwork($0.trimmed) }
    networks = parts.compactMap(\.self)
    guard networks.count == parts.count else { return nil }
  }

  /// Whether a network is so large that it contains addresses of strangers.
  public var coverEveryone: Bool { networks.contains(where: \.coversEveryone) }

  /// Returns the address of the client: the peer or, if the peer is a trusted proxy, the last address in `X-Forwarded-For`
  /// that is not a trusted proxy. The client itself could have written anything to the left of it.
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

  /// Reads an address as proxies write it, possibly with a port. It must be ASCII: Swift can combine a comma and another
  /// character into one, where a proxy sees the comma.
  private static func address(_ hop: Substring) -> IPAddress? {
    let text = hop.trimmed
    guard text.utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
    if let match = text.wholeMatch(of: /([0-9.]+):[0-9]+/) ?? text.wholeMatch(of: /\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?/) { return IPAddress(match.1) }
    return IPAddress(text)
  }
}
