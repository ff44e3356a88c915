/// A network such as `10.0.0.0/8`, or a single address.
struct IPNetwork: Sendable, Equatable {
  private let address: IPAddress
  private let prefixLength: Int

  init?(_ text: Substring) {
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

  func contains(_ other: IPAddress) -> Bool { other.sharesPrefix(with: address, bits: prefixLength) }
}
