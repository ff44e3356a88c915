import CGMime

/// One mailbox of a message, such as `Site <noreply@example.com>`.
struct MIMEAddress: Sendable {
  /// The bare address with an international domain in its ASCII form.
  let address: String
  /// The mailbox as the value of a header, encoded and folded, without a line end after it.
  let header: String
  /// The bare address as it was written, with an international domain decoded.
  private let decoded: String

  private static let initialized: Void = g_mime_init()
  /// Longer than any address that a mail server has to take (RFC 5321 section 4.5.3.1.3), and short enough for one line of a header.
  private static let longestAddress = 900

  /// Parses a mailbox, or returns `nil` unless `text` is exactly one.
  /// - Parameter name: The name of the header, which shortens its first line.
  init?(_ text: String, in name: String) {
    if Self.isPlain(text) {
      (address, header, decoded) = (text, text, text)
      return
    }
    _ = Self.initialized
    let list = internet_address_list_parse(nil, text)
    defer { if let list { g_object_unref(list) } }
    guard let list, let mailbox = Self.mailbox(list), let address = Self.asciiAddress(of: mailbox) else { return nil }
    self.address = address
    header = Self.header(mailbox, address, list, in: name)
    decoded = internet_address_mailbox_get_addr(mailbox).map { String(cString: $0) } ?? ""
  }

  /// Parses a bare address, or returns `nil` unless `text` is exactly that. A stored address is untrusted data, which must
  /// not become a second recipient or a header. GMime decodes a domain with `xn--`, so both forms are compared.
  init?(bare text: String, in name: String) {
    self.init(text, in: name)
    guard decoded.utf8.elementsEqual(text.utf8) || address.lowercased().utf8.elementsEqual(text.lowercased().utf8) else { return nil }
  }

  /// Whether a text is a bare address of the most common form, which means the same to every parser (RFC 5321 section 4.1.2): a
  /// Dot-string of ASCII and a domain of letters, digits and hyphens, in one line of a header.
  private static func isPlain(_ text: String) -> Bool {
    let bytes = text.utf8
    guard bytes.count <= 60, let at = bytes.firstIndex(of: UInt8(ascii: "@")) else { return false }
    let domain = bytes[bytes.index(after: at)...]
    return areWords(bytes[..<at], "!#$%&'*+-/=?^_`{|}~") && areWords(domain, "-")
      && !domain.split(separator: UInt8(ascii: ".")).contains { $0.starts(with: "xn--".utf8) || $0.starts(with: "XN--".utf8) }
  }

  /// Whether words of ASCII letters, digits and `others`, none of them empty, are separated by single dots.
  private static func areWords(_ bytes: Substring.UTF8View, _ others: StaticString) -> Bool {
    let others = UnsafeBufferPointer(start: others.utf8Start, count: others.utf8CodeUnitCount)
    var isInWord = false
    for byte in bytes {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): isInWord = true
      case UInt8(ascii: ".") where isInWord: isInWord = false
      default:
        guard byte != UInt8(ascii: "."), others.contains(byte) else { return false }
        isInWord = true
      }
    }
    return isInWord
  }

  /// Returns the mailbox in `list`, or `nil` unless there is exactly one.
  private static func mailbox(_ list: UnsafeMutablePointer<InternetAddressList>) -> UnsafeMutablePointer<InternetAddressMailbox>? {
    guard internet_address_list_length(list) == 1, let address = internet_address_list_get_address(list, 0),
      g_type_check_instance_is_a(UnsafeMutableRawPointer(address).assumingMemoryBound(to: GTypeInstance.self), internet_address_mailbox_get_type())
        != 0
    else { return nil }
    return UnsafeMutableRawPointer(address).assumingMemoryBound(to: InternetAddressMailbox.self)
  }

  private static func asciiAddress(of mailbox: UnsafeMutablePointer<InternetAddressMailbox>) -> String? {
    guard let text = internet_address_mailbox_get_idn_addr(mailbox) else { return nil }
    let address = String(cString: text)
    guard address.utf8.count <= longestAddress else { return nil }
    // GMime returns a domain unchanged if it has no ASCII form. Such a domain is invalid.
    guard let at = address.lastIndex(of: "@"), address[at...].utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
    return address.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control } ? address : nil
  }

  /// Returns the value of a header. GMime encodes no name of ASCII, neither one that looks like an encoded word (RFC 2047) nor
  /// one that cannot be folded.
  private static func header(
    _ mailbox: UnsafeMutablePointer<InternetAddressMailbox>, _ address: String, _ list: UnsafeMutablePointer<InternetAddressList>, in name: String
  ) -> String {
    let display = internet_address_get_name(UnsafeMutableRawPointer(mailbox).assumingMemoryBound(to: InternetAddress.self)).map {
      String(cString: $0)
    }
    if let display, !MIMEHeader.isPlain(display) || display.utf8.count > 50 {
      return (MIMEHeader.encodedWords(display, after: "\(name): ") + ["<\(address)>"]).joined(separator: "\n ")
    }
    // GMime folds the line that it appends to, and ends it.
    let line = g_string_new("\(name): ")
    internet_address_list_encode(list, nil, line)
    guard let start = g_string_free(line, 0) else { return address }
    defer { g_free(start) }
    let value = String(cString: start).utf8.dropFirst(name.utf8.count + 2)
    return String(decoding: value.last == UInt8(ascii: "\n") ? value.dropLast() : value, as: UTF8.self)
  }
}
