import Foundation

/// The name by which the service introduces itself to a mail server, in EHLO.
public enum ClientName {
  /// The fully qualified name of this host, or `nil` if it has none. Looked up once, because the name does not change.
  private static let host = qualified(hostNames())
  /// This machine's address, for a host and a sender without a domain.
  private static let literal = addressLiteral()

  /// Returns whether a server that respects RFC 5321 accepts `name`: a domain name, or an address in brackets.
  public static func accepts(_ name: String) -> Bool { isDomain(name) || isAddressLiteral(name) }

  /// Returns the name to use: this host's, otherwise the domain of the sender, otherwise an address (RFC 5321 section 4.1.4).
  static func automatic(sender: String) -> String { host ?? qualified([domain(of: sender)]) ?? literal }

  /// Returns the first name that has a dot and that other machines can know.
  static func qualified(_ names: [String]) -> String? {
    names.first { name in
      isDomain(name) && name.contains(".") && !name.lowercased().hasSuffix(".localdomain") && !name.lowercased().hasSuffix(".localhost")
    }
  }

  private static func domain(of address: String) -> String { address.split(separator: "@").last.map(String.init) ?? "" }

  private static func isDomain(_ name: String) -> Bool {
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    let areLabels = labels.allSatisfy { label in
      label.utf8.count <= 63 && label.wholeMatch(of: /[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?/) != nil
    }
    // A name that ends with a number would be read as an address.
    return areLabels && name.utf8.count <= 253 && labels.last?.allSatisfy(\.isNumber) == false
  }

  private static func isAddressLiteral(_ name: String) -> Bool {
    guard name.hasPrefix("["), name.hasSuffix("]") else { return false }
    let address = name.dropFirst().dropLast()
    var bytes = in6_addr()
    if address.lowercased().hasPrefix("ipv6:") { return inet_pton(AF_INET6, String(address.dropFirst(5)), &bytes) == 1 }
    return inet_pton(AF_INET, String(address), &bytes) == 1
  }

  private static func hostNames() -> [String] {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return [] }
    let name = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    // Ask the resolver only if the host does not know its full name.
    guard qualified([name]) == nil else { return [name] }
    var hints = addrinfo()
    hints.ai_flags = AI_CANONNAME
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(name, nil, &hints, &list) == 0, let first = list else { return [] }
    defer { freeaddrinfo(first) }
    return first.pointee.ai_canonname.map { [String(cString: $0)] } ?? []
  }

  private static func addressLiteral() -> String {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return "[127.0.0.1]" }
    defer { freeifaddrs(list) }
    for interface in sequence(first: list, next: { $0?.pointee.ifa_next }) {
      guard let interface, let address = interface.pointee.ifa_addr, address.pointee.sa_family == AF_INET,
        interface.pointee.ifa_flags & UInt32(IFF_LOOPBACK) == 0
      else { continue }
      var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
      let length = socklen_t(MemoryLayout<sockaddr_in>.size)
      guard getnameinfo(address, length, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0 else { continue }
      return "[" + String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) + "]"
    }
    return "[127.0.0.1]"
  }
}
