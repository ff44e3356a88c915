import CGMime
import Foundation
import PasswordReset

/// An email encoded as MIME, with the addresses of its envelope.
struct EncodedMessage: Sendable {
  /// The bare address of the sender, with an international domain in its ASCII form.
  var sender: String
  /// The bare address of the recipient, with an international domain in its ASCII form.
  var recipient: String
  /// The message.
  var data: [UInt8]

  /// Whether every server can be asked to take it. Otherwise it must offer SMTPUTF8.
  var isEnvelopeASCII: Bool { sender.utf8.allSatisfy { $0 < 0x80 } && recipient.utf8.allSatisfy { $0 < 0x80 } }
}

/// Encodes emails as MIME (RFC 2045, RFC 5322).
///
/// GMime parses and encodes addresses, and encodes texts. The message is put together here, because building and writing GMime's tree of
/// objects took most of the time of encoding (docs/decisions/0031).
enum MIMEEncoder {
  /// The form of an encoded message.
  enum Form {
    /// The form for SMTP, with seven bits and lines that end in CR LF.
    case wire
    /// The form for a program, with seven bits and lines that end in LF.
    case pipe
    /// The form for people, with UTF-8 that is not encoded and lines that end in LF.
    case readable
  }

  static let invalidSender = MailError.unavailable(
    reason: "DEFAULT_FROM_EMAIL is not one mailbox; set it to an address such as noreply@example.com")

  /// Returns the encoded message, or throws if the sender or the recipient is not exactly one mailbox.
  static func encode(_ message: EmailMessage, as form: Form) throws(MailError) -> EncodedMessage {
    guard let sender = MIMEAddress(message.sender, in: "From") else { throw invalidSender }
    guard let recipient = MIMEAddress(bare: message.recipient, in: "To") else {
      throw .permanent(reason: "the stored address is not one email address")
    }
    var lines = headers(of: message, from: sender, to: recipient)
    append(content(of: message, as: form), to: &lines)
    return EncodedMessage(sender: sender.address, recipient: recipient.address, data: form == .wire ? withCRLF(lines) : lines)
  }

  /// Returns the bare address of a mailbox with an international domain in its ASCII form, or `nil` unless `text` is
  /// exactly one mailbox.
  static func address(of text: String) -> String? {
    text.contains(where: \.isNewline) ? nil : MIMEAddress(text, in: "From")?.address
  }

  /// Returns all headers but those of the content.
  private static func headers(of message: EmailMessage, from sender: MIMEAddress, to recipient: MIMEAddress) -> [UInt8] {
    var lines: [UInt8] = []
    lines.reserveCapacity(12 * 1024)
    append("From: \(sender.header)\n", to: &lines)
    append("To: \(recipient.header)\n", to: &lines)
    append("\(MIMEHeader.line("Subject", message.subject))\n", to: &lines)
    append("Message-Id: <\(identifier(message.messageID))>\n", to: &lines)
    append("Date: \(date(message.date))\n", to: &lines)
    // No out-of-office reply answers a message with this header (RFC 3834). Exchange and Outlook ignore it and honor their
    // own header (MS-OXCMAIL).
    append("Auto-Submitted: auto-generated\nX-Auto-Response-Suppress: All\n", to: &lines)
    append("Content-Language: \(message.language)\nMIME-Version: 1.0\n", to: &lines)
    return lines
  }

  /// Returns a message id without characters that end it or its line. It may contain a user's key, which can be any text.
  private static func identifier(_ text: String) -> String {
    text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "<") && $0 != UInt8(ascii: ">") }
      ? text : text.addingPercentEncoding(withAllowedCharacters: .urlUserAllowed.union(["@"])) ?? ""
  }

  private static func date(_ date: Date) -> String {
    let time = g_date_time_new_from_unix_utc(Int(date.timeIntervalSince1970))
    defer { g_date_time_unref(time) }
    guard let text = g_mime_utils_header_format_date(time) else { return "" }
    defer { g_free(text) }
    return String(cString: text)
  }

  /// The parts of a message, of which the receiver's program shows the last one that it can (RFC 2046 section 5.1.4).
  private static func content(of message: EmailMessage, as form: Form) -> [(subtype: String, text: MIMEText)] {
    [("plain", message.body), ("html", message.html)].compactMap { subtype, text in
      text.map { (subtype, MIMEText($0, mayBe8Bit: form == .readable)) }
    }
  }

  private static func append(_ parts: [(subtype: String, text: MIMEText)], to lines: inout [UInt8]) {
    guard parts.count > 1 else { return parts.forEach { append($0, to: &lines) } }
    // Neither quoted-printable nor base64 contains `=-`, and no other text contains the random part.
    let boundary = "=-\(String(UInt64.random(in: .min ... .max), radix: 36))\(String(UInt64.random(in: .min ... .max), radix: 36))"
    append("Content-Type: multipart/alternative; boundary=\"\(boundary)\"\n\n", to: &lines)
    for part in parts {
      append("--\(boundary)\n", to: &lines)
      append(part, to: &lines)
      append("\n", to: &lines)
    }
    append("--\(boundary)--\n", to: &lines)
  }

  private static func append(_ part: (subtype: String, text: MIMEText), to lines: inout [UInt8]) {
    // In UTF-8, because an HTML page declares it itself.
    append("Content-Type: text/\(part.subtype); charset=utf-8\n", to: &lines)
    if let encoding = part.text.encoding { append("Content-Transfer-Encoding: \(encoding)\n", to: &lines) }
    append("\n", to: &lines)
    lines += part.text.bytes
  }

  private static func append(_ text: String, to lines: inout [UInt8]) { lines += text.utf8 }

  /// Ends each line with CR LF instead of LF.
  private static func withCRLF(_ text: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    // Room for one more byte in every 20. If lines are shorter, the array grows.
    result.reserveCapacity(text.count * 21 / 20)
    text.forEachLine { line, isEnded in
      result += line
      if isEnded { result += [UInt8(ascii: "\r"), UInt8(ascii: "\n")] }
    }
    return result
  }
}
