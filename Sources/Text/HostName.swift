import Foundation

/// The forms of a host in a URL or a setting.
package enum HostName {
  /// Whether the text is an IPv4 or IPv6 address without brackets. An IPv6 address may have a zone, as in `fe80::1%eth0`.
  package static func isAddress(_ text: some StringProtocol) -> Bool {
    var v4 = in_addr()
    var v6 = in6_addr()
    let parts = String(text).split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    let isV6 = inet_pton(AF_INET6, parts[0], &v6) == 1
    if parts.count == 2 { return isV6 && !parts[1].isEmpty && parts[1].utf8.allSatisfy { isAlphanumeric($0) || "-_.".utf8.contains($0) } }
    return isV6 || inet_pton(AF_INET, parts[0], &v4) == 1
  }

  /// Whether the text is a host name: labels of letters, digits, hyphens and underscores. A name whose last label is a
  /// number would be taken for an address.
  package static func isName(_ text: some StringProtocol) -> Bool {
    var labels = Array(text.utf8).split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    if labels.count > 1, labels.last?.isEmpty == true { labels.removeLast() }
    guard text.utf8.count <= 253, let last = labels.last, !isNumber(last) else { return false }
    return labels.allSatisfy { label in
      (1...63).contains(label.count) && label.first != UInt8(ascii: "-") && label.last != UInt8(ascii: "-")
        // Letters of other scripts are encoded in UTF-8 here.
        && label.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 >= 0x80 }
    }
  }

  /// Whether the text is `host` or `host:port` as in a URL, with brackets around an IPv6 address.
  package static func isAuthority(_ text: some StringProtocol) -> Bool {
    let bytes = Array(text.utf8)
    guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")), bytes.last != UInt8(ascii: "]") else { return isHost(bytes[...]) }
    let port = String(decoding: bytes[(colon + 1)...], as: UTF8.self)
    return isPort(port) && isHost(bytes[..<colon])
  }

  /// Whether the text is a port between 1 and 65535.
  private static func isPort(_ text: String) -> Bool { text.utf8.allSatisfy { (0x30...0x39).contains($0) } && (UInt16(text) ?? 0) > 0 }

  private static func isHost(_ bytes: ArraySlice<UInt8>) -> Bool {
    if bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]") {
      let address = String(decoding: bytes.dropFirst().dropLast(), as: UTF8.self)
      return address.contains(":") && isAddress(address)
    }
    let text = String(decoding: bytes, as: UTF8.self)
    return isName(text) || !text.contains(":") && isAddress(text)
  }

  /// Whether a label is a decimal or hexadecimal number.
  private static func isNumber(_ label: some Collection<UInt8>) -> Bool {
    let isHexadecimal = label.starts(with: "0x".utf8) || label.starts(with: "0X".utf8)
    return isHexadecimal || label.allSatisfy { (0x30...0x39).contains($0) }
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
  }
}
