import NIOHTTP1
import Text

/// Checks that a request has one framing, one host and one spelling of its target.
///
/// RFC 9112 allows a server some leniency. If two servers in a row are lenient in different ways, an attacker can make
/// them see different requests in the same bytes. NIO's parser has already rejected what is plainly malformed.
enum RequestValidation {
  /// Returns the reason to reject the request, or `nil` if it is valid.
  static func violation(in head: HTTPRequestHead, _ sizes: RequestSizeLimits) -> Rejection.Reason? {
    if head.uri.utf8.count > sizes.uriBytes { return .uriTooLong }
    if head.headers.count > sizes.fieldCount || headerBytes(of: head) > sizes.headerBytes { return .headersTooLarge }
    let violation = versionViolation(head) ?? targetViolation(head) ?? hostViolation(head) ?? framingViolation(head)
    return violation.map(Rejection.Reason.malformed)
  }

  private static func headerBytes(of head: HTTPRequestHead) -> Int {
    head.headers.reduce(head.uri.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count }
  }

  private static func versionViolation(_ head: HTTPRequestHead) -> String? {
    head.version == .http1_1 || head.version == .http1_0 ? nil : "The HTTP version must be 1.1 or 1.0."
  }

  private static func targetViolation(_ head: HTTPRequestHead) -> String? {
    if head.method == .OPTIONS, head.uri == "*" { return nil }
    guard head.method != .CONNECT, head.uri.utf8.first == UInt8(ascii: "/") else { return "The request target must be a path." }
    let isPlain = Array(head.uri.utf8).allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }
    return isPlain ? nil : "The request target contains a character that is not allowed in a URI."
  }

  private static func hostViolation(_ head: HTTPRequestHead) -> String? {
    let hosts = head.headers["Host"]
    // Only HTTP/1.1 requires the header (RFC 9112, section 3.2), and health checks of load balancers use HTTP/1.0.
    if hosts.isEmpty, head.version == .http1_0 { return nil }
    guard hosts.count == 1 else { return "The request must have exactly one Host header." }
    return isHost(hosts[0]) ? nil : "The Host header must be a name or an IP address, optionally with a port."
  }

  /// Whether the text is `uri-host [":" port]` of RFC 9110, section 7.2, and not empty.
  private static func isHost(_ text: String) -> Bool {
    var host = Array(text.utf8)[...]
    if let colon = host.lastIndex(of: UInt8(ascii: ":")), host[(colon + 1)...].allSatisfy({ (0x30...0x39).contains($0) }) {
      host = host[..<colon]
    }
    if host.first == UInt8(ascii: "["), host.last == UInt8(ascii: "]") {
      return host.count > 2 && host.dropFirst().dropLast().allSatisfy { isAlphanumeric($0) || ":.%-_".utf8.contains($0) }
    }
    return !host.isEmpty && host.allSatisfy { isAlphanumeric($0) || "-._~!$&'()*+,;=%".utf8.contains($0) }
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
  }

  private static func framingViolation(_ head: HTTPRequestHead) -> String? {
    // NIO's parser keeps the white space after a value.
    let codings = head.headers["Transfer-Encoding"].map(\.trimmed)
    let lengths = head.headers["Content-Length"].map(\.trimmed)
    guard codings.isEmpty else {
      guard lengths.isEmpty else { return "Content-Length and Transfer-Encoding must not be combined." }
      guard head.version == .http1_1 else { return "Transfer-Encoding requires HTTP/1.1." }
      return codings.count == 1 && codings[0].lowercased() == "chunked" ? nil : "The only supported Transfer-Encoding is chunked."
    }
    guard lengths.count <= 1 else { return "The request must have at most one Content-Length header." }
    let isNumber = lengths.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
    return isNumber ? nil : "Content-Length must be a number."
  }
}
