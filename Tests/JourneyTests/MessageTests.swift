import Foundation
import Localization
import Testing

@testable import Mail
@testable import PasswordReset

@Suite struct `A message` {
  private let message = EmailMessage(
    sender: "Example <noreply@example.com>", recipient: "alice@example.com", subject: "Reset", body: "line one\nline two\n",
    messageID: "r1.1@example.com",
    date: Date(timeIntervalSince1970: 1_800_000_000))

  private func wire(_ message: EmailMessage) throws -> String { String(decoding: try MIMEEncoder.encode(message, as: .wire).data, as: UTF8.self) }

  @Test func `has the headers that receivers expect, and lines that end with CR LF`() throws {
    let text = try wire(message)
    for line in [
      "From: Example <noreply@example.com>", "To: alice@example.com", "Subject: Reset", "Message-Id: <r1.1@example.com>",
      "Date: Fri, 15 Jan 2027 08:00:00 +0000",
      "Auto-Submitted: auto-generated", "X-Auto-Response-Suppress: All", "MIME-Version: 1.0",
    ] {
      #expect(text.contains(line + "\r\n"), "\(line)")
    }
    #expect(text.contains("\r\n\r\nline one\r\nline two\r\n"))
    #expect(!text.replacing("\r\n", with: "").unicodeScalars.contains("\n"))
  }

  @Test func `is 7-bit on the wire, regardless of its text`() throws {
    let templates = try MailTemplates(languages: Languages(), siteName: "Größe & Co", sender: "Größe & Co <noreply@exämple.com>")
    var message = templates.compose(
      MailContext(
        kind: .passwordChanged, user: User(id: 1, username: "密码", email: "alice@example.com", password: ""), recipient: "alice@example.com",
        link: nil, cancelURL: nil, locale: nil, time: Date(), messageKey: "r1.1", date: Date()))
    #expect(message.messageID == "r1.1@xn--exmple-cua.com")
    message.subject = "Zurücksetzen: 密码 😀"
    message.body = "Grüße, \(String(repeating: "密码", count: 300)) \u{2028} 😀\n"
    let encoded = try MIMEEncoder.encode(message, as: .wire)
    #expect(encoded.data.allSatisfy { $0 < 0x80 && $0 != 0 })
    #expect(encoded.sender == "noreply@xn--exmple-cua.com")
    #expect(encoded.data.split(separator: UInt8(ascii: "\n")).allSatisfy { $0.count <= 998 })
  }

  @Test(arguments: ["noreply@example.com", "<noreply@example.com>", "\"\" <noreply@example.com>"])
  func `has no name of the sender if there is none`(_ sender: String) throws {
    var message = message
    message.sender = sender
    let header = try #require(try wire(message).firstMatch(of: /(?m)^From: (.*?)\r\n/))
    #expect(header.1.hasSuffix("noreply@example.com") || header.1.hasSuffix("<noreply@example.com>"))
    #expect(!header.1.contains("=?"))
  }

  @Test(arguments: [
    "one\ntwo\n", "one\r\ntwo\r\n", "one\rtwo\r", "one\n\r\ntwo\n\n", "eins: ß\nzwei\n", "一\n二\n", "一\r二\r\n三\n", "\n\n密码",
    String(repeating: "x", count: 2000) + "\ny\n", "trailing \nspace\t\n", ".\n..\nFrom a\n",
  ])
  func `has lines that end with CR LF before they are encoded`(_ text: String) throws {
    var message = message
    (message.body, message.html) = (text, "<p>\(text)</p>")
    let lines = text.replacing("\r\n", with: "\n").replacing("\r", with: "\n").replacing("\n", with: "\r\n")
    let parts = try wire(message).components(separatedBy: "\r\n--").dropFirst()
    let decoded = parts.compactMap { part -> String? in
      let halves = part.split(separator: "\r\n\r\n", maxSplits: 1)
      guard halves.count == 2, halves[0].contains("charset=utf-8") else { return nil }
      let content = String(halves[1])
      guard !halves[0].contains("base64") else {
        return Data(base64Encoded: content, options: .ignoreUnknownCharacters).map { String(decoding: $0, as: UTF8.self) }
      }
      return halves[0].contains("quoted-printable") ? Self.decodedQuotedPrintable(content) : content
    }
    #expect(decoded == [lines, "<p>\(lines)</p>"], "\(parts)")
  }

  private static func decodedQuotedPrintable(_ text: String) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "=") else {
        bytes.append(byte)
        continue
      }
      if let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) { bytes.append(value) }
      rest = rest.dropFirst(2)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test(arguments: ["Grüße", "密码", "مرحبا", "plain", "naïve café ½", "Ω≈ç√"])
  func `is in UTF-8 in every part`(_ text: String) throws {
    var message = message
    (message.body, message.html) = (text, "<meta charset=\"utf-8\">\(text)")
    let types = try wire(message).components(separatedBy: "\r\n").filter { $0.hasPrefix("Content-Type: text/") }
    #expect(types == ["Content-Type: text/plain; charset=utf-8", "Content-Type: text/html; charset=utf-8"])
  }

  @Test(arguments: [
    "Reset", "Zurücksetzen für 密码", String(repeating: "x", count: 2000), String(repeating: "密码 ", count: 200), String(repeating: "é", count: 1000),
    "=?utf-8?q?x?= " + String(repeating: "y", count: 200), "a  b   c", " lead", "trail ", String(repeating: "👩‍👩‍👧‍👦", count: 40), "tab\there",
    String(repeating: "word ", count: 300), "\u{7F}\u{1B}[31m", String(repeating: "\\\"", count: 60),
  ])
  func `has encoded words and header lines within the limits`(_ text: String) throws {
    var message = message
    message.subject = text
    message.sender = "\"\(text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\" <noreply@example.com>"
    let headers = try #require(try wire(message).components(separatedBy: "\r\n\r\n").first)
    for line in headers.components(separatedBy: "\r\n") {
      #expect(line.utf8.count <= 78 && line.utf8.allSatisfy { (0x09...0x7E).contains($0) }, "\(line)")
    }
    for word in headers.matches(of: /=\?[^? ]*\?[bBqQ]\?[^? ]*\?=/) { #expect(word.0.utf8.count <= 75) }
  }

  @Test(arguments: ["a@exämple.com", "a@xn--exmple-cua.com", "a@XN--exmple-cua.COM", "\"a b\"@example.com", "a@[192.0.2.1]", "a'b@example.com"])
  func `goes to the stored address, regardless of its spelling`(_ recipient: String) throws {
    var message = message
    message.recipient = recipient
    let ascii = recipient.replacing("exämple", with: "xn--exmple-cua")
    #expect(try MIMEEncoder.encode(message, as: .wire).recipient.lowercased() == ascii.lowercased())
  }

  @Test(arguments: [
    "a@b.co, c@b.co", "a@b.co,", "a@b.co\r\nBcc: c@b.co", "a@b.co\nc@b.co", "Alice <a@b.co>", "<a@b.co>", "group: a@b.co, c@b.co;", "a@b.co c@b.co",
    "a@b.co (x)",
    String(repeating: "a", count: 990) + "@b.co", "ä@" + String(repeating: "b.", count: 500) + "co", "", " ", "stranger", "@", "a@b.co\0", "\"a@b.co",
    "a@b.co;c@b.co", " a@b.co", "a@b.co\u{2028}", "a@b\u{2028}.co", "a@b.co>\r\nRCPT TO:<c@b.co",
  ])
  func `is never sent to a value that is not exactly one address`(_ recipient: String) throws {
    var message = message
    message.recipient = recipient
    #expect(throws: MailError.permanent(reason: "the stored address is not one email address")) { try MIMEEncoder.encode(message, as: .wire) }
  }

  @Test(arguments: ["r1.a b", "r1.a\r\nBcc: evil@example.com", "r1.<x>", "r1.密码", "r1.a%0Ab"])
  func `has a message id without characters that end it, for every key of a user`(_ key: String) throws {
    var message = message
    message.messageID = "\(key)@example.com"
    let headers = try #require(try wire(message).components(separatedBy: "\r\n\r\n").first).components(separatedBy: "\r\n")
    let ids = headers.filter { $0.hasPrefix("Message-Id: <r1.") }
    #expect(ids.count == 1 && ids[0].wholeMatch(of: /Message-Id: <[!-;=?-~]+@example\.com>/) != nil, "\(headers)")
    #expect(headers.count == 10 && !headers.contains { $0.hasPrefix("Bcc") })
  }

  @Test(arguments: ["a@b.co", "a.b+c@b-c.example.com", "!#$%&'*+-/=?^_`{|}~@x.y", "A1@LOCALHOST", "-a@b.co"])
  func `takes a common address as it is, as GMime reads it too`(_ text: String) {
    #expect(MIMEAddress(text, in: "To")?.address == text)
    #expect(MIMEAddress(text, in: "To")?.header == text)
    #expect(MIMEAddress("<\(text)>", in: "To")?.address == text)
  }

  @Test(arguments: [
    "x\r\nBcc: evil@example.com", "x\nBcc: evil@example.com", "x\r\n\r\nbody", "=?utf-8?q?x=0D=0ABcc:_evil?=", "x\u{2028}y", "x\u{85}y",
  ])
  func `cannot get another header through its subject`(_ subject: String) throws {
    let templates = try MailTemplates(languages: Languages(), siteName: subject, sender: "noreply@example.com")
    let mail = MailContext(
      kind: .passwordChanged, user: User(id: 1, username: "{{site_name}}{{{email}}}", email: "alice@example.com", password: ""),
      recipient: "alice@example.com",
      link: nil, cancelURL: nil, locale: nil, time: Date(), messageKey: "r1.1", date: Date())
    let composed = templates.compose(mail)
    #expect(composed.body.contains("Hi {{site_name}}{{{email}}},"))
    let headers = try #require(try wire(composed).components(separatedBy: "\r\n\r\n").first).components(separatedBy: "\r\n")
    let names = headers.filter { !$0.hasPrefix(" ") && !$0.hasPrefix("\t") }.compactMap { $0.split(separator: ":").first.map(String.init) }
    #expect(
      Set(names) == [
        "From", "To", "Subject", "Message-Id", "Date", "Auto-Submitted", "X-Auto-Response-Suppress", "Content-Language", "MIME-Version",
        "Content-Type",
      ])
    #expect(names.count == 10)
  }

  @Test func `says in words how long the link is valid`() throws {
    for (seconds, words) in [(1, "1 second"), (90, "90 seconds"), (60, "1 minute"), (5400, "90 minutes"), (3600, "1 hour"), (259_200, "3 days")] {
      #expect(try Languages().default.duration(seconds: seconds) == words)
    }
  }

  @Test func `in a file is readable only by the owner, and is appended`() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("mails-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let backend = try FileBackend(folder: folder, now: Date(timeIntervalSince1970: 1_800_000_000))
    try await backend.send(message)
    try await backend.send(message)
    let name = try #require(try FileManager.default.contentsOfDirectory(atPath: folder).first)
    #expect(name.wholeMatch(of: /20270115-080000-[0-9a-f]{8}\.log/) != nil)
    #expect(try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")[.posixPermissions] as? Int == 0o600)
    let text = try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
    #expect(text.components(separatedBy: String(repeating: "-", count: 79)).count == 3)
  }
}
