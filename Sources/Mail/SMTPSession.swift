import Foundation

/// Follows the replies of a mail server on one connection.
struct SMTPSession {
  /// One reply, of one or more lines.
  struct Reply {
    var code: Int
    /// The text of all lines. It may contain addresses, so no log may show it.
    var text: String

    init(code: Int, text: String) { (self.code, self.text) = (code, String(decoding: text.utf8.prefix(longestText), as: UTF8.self)) }
  }

  private static let keywords: Set = ["AUTH", "STARTTLS", "SMTPUTF8", "SIZE", "8BITMIME"]
  /// How many bytes of a reply are kept: two lines of the length that RFC 5321 section 4.5.3.1.5 allows.
  private static let longestText = 1024

  let usesStartTLS: Bool
  /// The SASL mechanisms that the server offers, in uppercase.
  private(set) var mechanisms: [String] = []
  private(set) var offersUTF8 = false
  /// Whether the server has accepted the user name and its secret.
  private(set) var isAuthenticated = false
  /// The reply that refused EHLO or HELO, until one of them is accepted.
  private(set) var helloRefusal: Reply?
  /// The last reply, except the one to QUIT, which libcurl sends after a refusal.
  private(set) var last: Reply?
  /// Whether the last extensions that the server reported are those that count, because they came under TLS if it is required.
  private(set) var isIntroduced = false
  /// Whether the next reply is the one to EHLO or HELO.
  private(set) var awaitsHello = false
  private var isGreeted = false
  private var isSecured = false
  private var text = ""

  init(usesStartTLS: Bool) { self.usesStartTLS = usesStartTLS }

  /// Reads one line of a reply, and writes the keywords of EHLO in it in uppercase: they are case-insensitive (RFC 5321
  /// section 4.1.1.1), but libcurl compares them byte by byte after it has passed the line to the header callback.
  mutating func observe(_ line: UnsafeMutableRawBufferPointer) {
    guard line.count >= 3, let code = Int(String(decoding: line.prefix(3), as: UTF8.self)) else { return }
    if code == 220, text.isEmpty { begin() }
    if code == 250, awaitsHello, line.count > 4 { observeKeyword(UnsafeMutableRawBufferPointer(rebasing: line[4...])) }
    if text.utf8.count < Self.longestText { text += String(decoding: line.dropFirst(4), as: UTF8.self) + " " }
    guard line.count == 3 || line[3] != UInt8(ascii: "-") else { return }
    finish(Reply(code: code, text: text))
    text = ""
  }

  /// 220 is the greeting, or the reply to STARTTLS on a connection that has been greeted.
  private mutating func begin() {
    isSecured = usesStartTLS && isGreeted && !isSecured
    isGreeted = true
    (mechanisms, offersUTF8, isAuthenticated, isIntroduced, helloRefusal) = ([], false, false, false, nil)
    awaitsHello = true
  }

  private mutating func finish(_ reply: Reply) {
    if reply.code != 221 { last = reply }
    if reply.code == 235 { isAuthenticated = true }
    guard awaitsHello, reply.code != 220 else { return }
    helloRefusal = reply.code == 250 ? nil : reply
    guard reply.code == 250 else { return }
    awaitsHello = false
    isIntroduced = !usesStartTLS || isSecured
  }

  private mutating func observeKeyword(_ line: UnsafeMutableRawBufferPointer) {
    let end = line.firstIndex { [0x20, 0x3D, 0x09, 0x0D, 0x0A].contains($0) } ?? line.endIndex
    let keyword = String(decoding: line[..<end], as: UTF8.self).uppercased()
    guard Self.keywords.contains(keyword) else { return }
    let isAuth = keyword == "AUTH"
    for index in line.indices where index < end || isAuth {
      if (0x61...0x7A).contains(line[index]) { line[index] -= 0x20 }
    }
    if keyword == "SMTPUTF8" { offersUTF8 = true }
    guard isAuth, end < line.endIndex else { return }
    // Old servers write `AUTH=LOGIN`.
    if [0x3D, 0x09].contains(line[end]) { line[end] = 0x20 }
    let words = String(decoding: line[end...], as: UTF8.self).split(whereSeparator: \.isWhitespace).map(String.init)
    mechanisms += words.filter { $0.wholeMatch(of: /[A-Z0-9_-]{1,20}/) != nil && !mechanisms.contains($0) }
  }
}
