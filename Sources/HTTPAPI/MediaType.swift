import Text

/// What a request says about the form of its body (RFC 9110, sections 8.3 and 8.4).
enum MediaType {
  /// Whether the body is not encoded. Two servers could read a body in a coding that only one of them removes in two ways.
  static func isIdentity(_ contentEncoding: String?) -> Bool {
    guard let contentEncoding else { return true }
    return contentEncoding.split(separator: ",").map(\.trimmed).allSatisfy { $0.isEmpty || $0.lowercased() == "identity" }
  }

  /// Whether the type is `application/json`, alone or with `charset=utf-8`.
  static func isJSON(_ contentType: String?) -> Bool {
    // Nearly all clients send exactly this.
    if contentType == "application/json" { return true }
    var rest = (contentType ?? "").trimmed.utf8
    let type = rest.prefix { $0 != UInt8(ascii: ";") }
    guard Substring(type).trimmed.lowercased() == "application/json" else { return false }
    rest = rest[type.endIndex...]
    while !rest.isEmpty {
      rest.removeFirst()
      guard let parameter = takeParameter(&rest) else { return false }
      if parameter.name == "charset", parameter.value != "utf-8" { return false }
    }
    return true
  }

  /// Removes a parameter, which may be empty, up to the next semicolon. Returns its name and value in lower case, or `nil`
  /// if it is malformed.
  private static func takeParameter(_ rest: inout Substring.UTF8View) -> (name: String, value: String)? {
    skipBlanks(&rest)
    let name = rest.prefix(while: isTokenByte)
    rest = rest[name.endIndex...]
    guard !name.isEmpty else { return skipBlanks(&rest) ? ("", "") : nil }
    guard rest.popFirst() == UInt8(ascii: "=") else { return nil }
    guard let value = rest.first == UInt8(ascii: "\"") ? takeQuoted(&rest) : takeToken(&rest), skipBlanks(&rest) else { return nil }
    return (String(Substring(name)).lowercased(), value.lowercased())
  }

  private static func takeToken(_ rest: inout Substring.UTF8View) -> String? {
    let token = rest.prefix(while: isTokenByte)
    rest = rest[token.endIndex...]
    return token.isEmpty ? nil : String(Substring(token))
  }

  /// Removes a quoted string, in which a backslash precedes a byte that is meant literally. Returns its content.
  private static func takeQuoted(_ rest: inout Substring.UTF8View) -> String? {
    rest.removeFirst()
    var content: [UInt8] = []
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: content, as: UTF8.self)
      case UInt8(ascii: "\\"):
        guard let literal = rest.popFirst() else { return nil }
        content.append(literal)
      default: content.append(byte)
      }
    }
    return nil
  }

  /// Removes spaces and tabs. Returns whether a semicolon or the end follows.
  @discardableResult private static func skipBlanks(_ rest: inout Substring.UTF8View) -> Bool {
    rest = rest.drop { $0 == 0x20 || $0 == 0x09 }
    return rest.isEmpty || rest.first == UInt8(ascii: ";")
  }

  private static func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
  }
}
