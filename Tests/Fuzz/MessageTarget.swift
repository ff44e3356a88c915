import Foundation
@testable import Mail
import PasswordReset

extension FuzzTarget {
  /// Emails: no text and no stored address becomes a header, a second recipient, or a line that a mail server refuses.
  static let messages = FuzzTarget("messages") { bytes in
    let (field, rest) = bytes.choose([Field.recipient, .subject, .body, .html, .sender])
    let text = rest.text
    var message = EmailMessage(
      sender: "Site <noreply@example.com>", recipient: "alice@example.com", subject: "Reset", body: "Text", messageID: "1@example.com",
      date: Date(timeIntervalSince1970: 1_790_000_000))
    switch field {
    case .recipient: message.recipient = text
    case .subject: message.subject = text.filter { !$0.isNewline }
    case .body: message.body = text
    case .html: message.html = text
    case .sender:
      guard Sender.accepts(text) else { return }
      try expect(!Sender.domain(of: text).isEmpty, "a sender has a domain: \(text)")
      message.sender = text
    }
    for form in [MIMEEncoder.Form.wire, .pipe, .readable] {
      let encoded: EncodedMessage
      do throws(MailError) { encoded = try MIMEEncoder.encode(message, as: form) } catch {
        try expect(field == .recipient, "only a stored address can be refused: \(error)")
        return
      }
      try checkAddress(encoded.recipient)
      try checkAddress(encoded.sender)
      try checkLines(Array(encoded.data), form)
    }
  }

  /// Refusals of mail servers: their cause does not depend on an address that a stranger chose.
  static let replies = FuzzTarget("replies") { bytes in
    let (stage, rest) = bytes.choose([SMTPRefusal.Stage.mail, .recipient, .data, .text])
    let (code, text) = rest.choose([421, 450, 451, 501, 504, 530, 535, 550, 552, 554])
    let address = "spf.relaying@quota.example"
    let cause = SMTPRefusal(.init(code: code, text: text.text), at: stage, recipient: address)
    let named = SMTPRefusal(.init(code: code, text: text.text + " <\(address)>"), at: stage, recipient: address)
    try expect(cause == named, "an address is no cause: \(String(describing: cause)) and \(String(describing: named))")
  }

  private enum Field { case recipient, subject, body, html, sender }

  private static let names: Set = [
    "from", "to", "subject", "message-id", "date", "auto-submitted", "x-auto-response-suppress", "content-language", "mime-version", "content-type",
    "content-transfer-encoding",
  ]

  /// An address is part of a command to the mail server, where spaces and angle brackets outside of quotation marks end it.
  private static func checkAddress(_ address: String) throws {
    try expect(address.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "an address has no control character: \(address.debugDescription)")
    let unquoted = address.replacing(/\\./, with: "").replacing(/"[^"]*"/, with: "")
    try expect(!unquoted.utf8.contains { [0x20, 0x3C, 0x3E].contains($0) }, "an address is one word: \(address.debugDescription)")
  }

  private static func checkLines(_ data: [UInt8], _ form: MIMEEncoder.Form) throws {
    let lines = data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
    for (index, line) in lines.enumerated() {
      let isComplete = form != .wire || line.last == UInt8(ascii: "\r")
      try expect(isComplete && !line.dropLast(form == .wire ? 1 : 0).contains(UInt8(ascii: "\r")), "line \(index + 1) ends in its form")
      // The limit of RFC 5322, section 2.1.1. Nothing is encoded for people.
      if form != .readable { try expect(line.count <= 999, "line \(index + 1) has at most 998 bytes") }
    }
    for line in lines.prefix(while: { !$0.isEmpty && !$0.elementsEqual([0x0D]) }) where line.first != 0x20 && line.first != 0x09 {
      let name = String(decoding: line.prefix { $0 != UInt8(ascii: ":") }, as: UTF8.self)
      try expect(names.contains(name.lowercased()), "a message has only its own headers: \(name.debugDescription)")
    }
  }
}
