import NIOHTTP1

/// What a request must be like before anything else is asked: one framing, one host, one spelling of its target.
///
/// RFC 9112 leaves a server some leniency; two servers that are lenient in different ways, one behind the other, can be made to see different requests
/// in the same bytes. NIO's parser has refused what is plainly malformed before this is asked.
enum RequestRules {
  /// Why the request is refused; nil if it is not.
  static func fault(in head: HTTPRequestHead) -> Problem? {
    if head.uri.utf8.count > EdgeLimits.uriBytes {
      return .uriTooLong
    }
    guard let reason = versionFault(head) ?? targetFault(head) ?? hostFault(head) ?? framingFault(head) else { return nil }
    return Problem(.malformedRequest, reason)
  }

  private static func versionFault(_ head: HTTPRequestHead) -> String? {
    head.version == .http1_1 || head.version == .http1_0 ? nil : "Only HTTP/1.1 and HTTP/1.0 are spoken here."
  }

  private static func targetFault(_ head: HTTPRequestHead) -> String? {
    if head.method == .OPTIONS, head.uri == "*" { return nil }
    guard head.method != .CONNECT, head.uri.utf8.first == UInt8(ascii: "/") else { return "The target must be a path." }
    let isPlain = head.uri.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }
    return isPlain ? nil : "The target holds a character that an address cannot hold."
  }

  private static func hostFault(_ head: HTTPRequestHead) -> String? {
    let hosts = head.headers["Host"]
    guard hosts.count == 1 else { return "There must be one Host." }
    return isHost(hosts[0]) ? nil : "Host must be a name or an address, and a port if need be."
  }

  /// `uri-host [":" port]` of RFC 9110, section 7.2, and not empty.
  private static func isHost(_ text: String) -> Bool {
    var host = text.utf8[...]
    if let colon = host.lastIndex(of: UInt8(ascii: ":")), host[host.index(after: colon)...].allSatisfy({ (0x30...0x39).contains($0) }) {
      host = host[..<colon]
    }
    if host.first == UInt8(ascii: "["), host.last == UInt8(ascii: "]") {
      return host.count > 2 && host.dropFirst().dropLast().allSatisfy { isAlphanumeric($0) || ":.%-_".utf8.contains($0) }
    }
    return !host.isEmpty && host.allSatisfy { isAlphanumeric($0) || "-._~!$&'()*+,;=%".utf8.contains($0) }
  }

  /// The parser leaves the blanks behind a value where they are.
  static func trimmed(_ value: String) -> Substring { Substring(value).trimmed }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
  }

  private static func framingFault(_ head: HTTPRequestHead) -> String? {
    let codings = head.headers["Transfer-Encoding"].map(trimmed)
    let lengths = head.headers["Content-Length"].map(trimmed)
    guard codings.isEmpty else {
      guard lengths.isEmpty else { return "Content-Length and Transfer-Encoding exclude each other." }
      guard head.version == .http1_1 else { return "There is no Transfer-Encoding before HTTP/1.1." }
      return codings.count == 1 && codings[0].lowercased() == "chunked" ? nil : "The only Transfer-Encoding is chunked."
    }
    guard lengths.count <= 1 else { return "There must be one Content-Length at most." }
    let isNumber = lengths.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
    return isNumber ? nil : "Content-Length must be a number."
  }
}
