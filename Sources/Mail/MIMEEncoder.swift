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
  var data: Data

  /// Whether every server can be asked to take it. Otherwise it must offer SMTPUTF8.
  var isEnvelopeASCII: Bool { sender.utf8.allSatisfy { $0 < 0x80 } && recipient.utf8.allSatisfy { $0 < 0x80 } }
}

/// Encodes emails as MIME with GMime.
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

  private static let initialized: Void = g_mime_init()

  /// Returns the encoded message, or throws if the sender or the recipient is not exactly one mailbox.
  static func encode(_ message: EmailMessage, as form: Form) throws(MailError) -> EncodedMessage {
    _ = initialized
    let from = internet_address_list_parse(nil, message.sender)
    defer { if let from { g_object_unref(from) } }
    guard let from, let sender = envelopeAddress(from) else {
      throw invalidSender
    }
    // A stored address is untrusted data, which must not become a second recipient or a header.
    let to = internet_address_list_parse(nil, message.recipient)
    defer { if let to { g_object_unref(to) } }
    guard let to, let recipient = envelopeAddress(to), isWhole(message.recipient, to, recipient) else {
      throw .permanent(reason: "the stored address is not one email address")
    }
    return EncodedMessage(sender: sender, recipient: recipient, data: bytes(of: message, from: from, to: to, as: form))
  }

  /// Returns the bare address of a mailbox with an international domain in its ASCII form, or `nil` unless `text` is
  /// exactly one mailbox.
  static func address(of text: String) -> String? {
    _ = initialized
    let list = internet_address_list_parse(nil, text)
    defer { if let list { g_object_unref(list) } }
    return text.contains(where: \.isNewline) ? nil : list.flatMap(envelopeAddress)
  }

  /// Returns whether `text` is only the bare address that GMime found in it. GMime decodes a domain with `xn--`, so
  /// both forms are compared.
  private static func isWhole(_ text: String, _ list: UnsafeMutablePointer<InternetAddressList>, _ ascii: String) -> Bool {
    bareAddress(list)?.utf8.elementsEqual(text.utf8) == true || ascii.lowercased().utf8.elementsEqual(text.lowercased().utf8)
  }

  private static func bytes(
    of message: EmailMessage, from: UnsafeMutablePointer<InternetAddressList>, to: UnsafeMutablePointer<InternetAddressList>, as form: Form
  ) -> Data {
    let mime = g_mime_message_new(1)
    defer { g_object_unref(mime) }
    setSender(from, of: mime)
    internet_address_list_append(g_mime_message_get_addresses(mime, GMIME_ADDRESS_TYPE_TO), to)
    setSubject(message.subject, of: mime)
    g_mime_message_set_message_id(mime, message.messageID)
    let date = g_date_time_new_from_unix_utc(Int(message.date.timeIntervalSince1970))
    g_mime_message_set_date(mime, date)
    g_date_time_unref(date)
    // No out-of-office reply answers a message with this header (RFC 3834). Exchange and Outlook ignore it and honor their
    // own header (MS-OXCMAIL).
    g_mime_object_set_header(object(mime), "Auto-Submitted", "auto-generated", nil)
    g_mime_object_set_header(object(mime), "X-Auto-Response-Suppress", "All", nil)
    g_mime_object_set_header(object(mime), "Content-Language", message.language, nil)

    let content = content(of: message, as: form)
    g_mime_message_set_mime_part(mime, content)
    g_object_unref(content)
    return write(object(mime), as: form)
  }

  /// Sets the subject. GMime encodes no ASCII, neither a text that looks like an encoded word (RFC 2047) nor one that cannot be
  /// folded.
  private static func setSubject(_ subject: String, of mime: UnsafeMutablePointer<GMimeMessage>?) {
    guard !isPlain(subject) else { return g_mime_message_set_subject(mime, subject, "utf-8") }
    setHeader("Subject", encodedWords(subject, after: "Subject: "), of: mime)
  }

  /// Sets the sender. The name of a mailbox has the same limits as a subject.
  private static func setSender(_ from: UnsafeMutablePointer<InternetAddressList>, of mime: UnsafeMutablePointer<GMimeMessage>?) {
    let mailbox = mailbox(from)
    guard let mailbox, let text = internet_address_get_name(cast(mailbox, to: InternetAddress.self)), let address = envelopeAddress(from),
      case let name = String(cString: text), !isPlain(name) || name.utf8.count > 50
    else { return internet_address_list_append(g_mime_message_get_addresses(mime, GMIME_ADDRESS_TYPE_FROM), from) }
    setHeader("From", encodedWords(name, after: "From: ") + ["<\(address)>"], of: mime)
  }

  /// Sets a header to words that are already encoded, one in each line, because GMime would encode and fold them again.
  private static func setHeader(_ name: String, _ words: [String], of mime: UnsafeMutablePointer<GMimeMessage>?) {
    g_mime_object_set_header(object(mime), name, words.joined(separator: " "), nil)
    let header = g_mime_header_list_get_header(g_mime_object_get_header_list(object(mime)), name)
    g_mime_header_set_raw_value(header, " " + words.joined(separator: "\n ") + "\n")
  }

  /// Returns whether a text of a header needs no encoding: ASCII with single spaces, in words that are short enough to be folded.
  private static func isPlain(_ text: String) -> Bool {
    guard !text.isEmpty else { return true }
    return text.utf8.allSatisfy { (0x20...0x7E).contains($0) } && !text.contains("=?")
      && text.split(separator: " ", omittingEmptySubsequences: false).allSatisfy { (1...50).contains($0.utf8.count) }
  }

  /// Returns encoded words that fit into lines of 76 characters (RFC 2047 section 2), each with complete characters.
  private static func encodedWords(_ text: String, after name: String) -> [String] {
    // An encoded word has 12 characters around its base64, which has four for every three bytes.
    var limit = (64 - name.utf8.count) / 4 * 3
    var chunks = [""]
    for scalar in text.unicodeScalars {
      if chunks[chunks.count - 1].utf8.count + UTF8.width(scalar) > limit {
        chunks.append("")
        limit = 45
      }
      chunks[chunks.count - 1].unicodeScalars.append(scalar)
    }
    return chunks.map { "=?utf-8?b?\(Data($0.utf8).base64EncodedString())?=" }
  }

  /// Returns the text alone, or the text followed by the preferred HTML (RFC 2046 section 5.1.4).
  private static func content(of message: EmailMessage, as form: Form) -> UnsafeMutablePointer<GMimeObject>? {
    let text = textPart(message.body, subtype: "plain", as: form)
    guard let html = message.html else { return text }
    let alternative = g_mime_multipart_new_with_subtype("alternative")
    for part in [text, textPart(html, subtype: "html", as: form)] {
      g_mime_multipart_add(alternative, part)
      g_object_unref(part)
    }
    return object(alternative)
  }

  /// Returns a part in UTF-8. GMime's own function for texts chooses another charset, which would contradict the one that an
  /// HTML page declares.
  private static func textPart(_ text: String, subtype: String, as form: Form) -> UnsafeMutablePointer<GMimeObject>? {
    let part = g_mime_part_new_with_type("text", subtype)
    g_mime_object_set_content_type_parameter(object(part), "charset", "utf-8")
    setContent(bytes(of: text, lineEnd: "\n"), of: part)
    guard form != .readable else { return object(part) }
    let encoding = g_mime_part_get_best_content_encoding(part, GMIME_ENCODING_CONSTRAINT_7BIT)
    // A line of text ends with CR LF before it is encoded (RFC 2045 section 6.8). In the other encodings, line ends are
    // written with the message.
    if encoding == GMIME_CONTENT_ENCODING_BASE64 { setContent(bytes(of: text, lineEnd: "\r\n"), of: part) }
    g_mime_part_set_content_encoding(part, encoding)
    return object(part)
  }

  private static func setContent(_ data: [UInt8], of part: UnsafeMutablePointer<GMimePart>?) {
    let stream = data.withUnsafeBufferPointer { buffer in
      buffer.withMemoryRebound(to: CChar.self) { g_mime_stream_mem_new_with_buffer($0.baseAddress, $0.count) }
    }
    let content = g_mime_data_wrapper_new_with_stream(stream, GMIME_CONTENT_ENCODING_DEFAULT)
    g_mime_part_set_content(part, content)
    g_object_unref(content)
    g_object_unref(stream)
  }

  /// Returns the text in UTF-8 with one kind of line end. A CR alone is a line end as well, because no message may contain one.
  private static func bytes(of text: String, lineEnd: String) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count * 21 / 20)
    var last: UInt8 = 0
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\n") where last == UInt8(ascii: "\r"): break
      case UInt8(ascii: "\n"), UInt8(ascii: "\r"): bytes += lineEnd.utf8
      default: bytes.append(byte)
      }
      last = byte
    }
    return bytes
  }

  private static func write(_ mime: UnsafeMutablePointer<GMimeObject>?, as form: Form) -> Data {
    g_mime_object_encode(mime, form == .readable ? GMIME_ENCODING_CONSTRAINT_8BIT : GMIME_ENCODING_CONSTRAINT_7BIT)
    let options = g_mime_format_options_new()
    defer { g_mime_format_options_free(options) }
    g_mime_format_options_set_newline_format(options, form == .wire ? GMIME_NEWLINE_FORMAT_DOS : GMIME_NEWLINE_FORMAT_UNIX)
    let stream = g_mime_stream_mem_new()
    defer { g_object_unref(stream) }
    g_mime_object_write_to_stream(mime, options, stream)
    guard let array = g_mime_stream_mem_get_byte_array(cast(stream, to: GMimeStreamMem.self)), let start = array.pointee.data else { return Data() }
    return Data(bytes: start, count: Int(array.pointee.len))
  }

  /// Returns the mailbox in `list`, or `nil` unless there is exactly one.
  private static func mailbox(_ list: UnsafeMutablePointer<InternetAddressList>) -> UnsafeMutablePointer<InternetAddressMailbox>? {
    guard internet_address_list_length(list) == 1, let address = internet_address_list_get_address(list, 0),
      g_type_check_instance_is_a(cast(address, to: GTypeInstance.self), internet_address_mailbox_get_type()) != 0
    else { return nil }
    return cast(address, to: InternetAddressMailbox.self)
  }

  private static func bareAddress(_ list: UnsafeMutablePointer<InternetAddressList>) -> String? {
    mailbox(list).flatMap { internet_address_mailbox_get_addr($0) }.map { String(cString: $0) }
  }

  private static func envelopeAddress(_ list: UnsafeMutablePointer<InternetAddressList>) -> String? {
    guard let text = mailbox(list).flatMap({ internet_address_mailbox_get_idn_addr($0) }) else { return nil }
    let address = String(cString: text)
    // GMime returns a domain unchanged if it has no ASCII form. Such a domain is invalid.
    guard let at = address.lastIndex(of: "@"), address[at...].utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
    return address.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control } ? address : nil
  }

  private static func object<T>(_ pointer: UnsafeMutablePointer<T>?) -> UnsafeMutablePointer<GMimeObject>? { cast(pointer, to: GMimeObject.self) }

  /// Converts a pointer to an instance into a pointer to one of its classes, which GObject's inheritance allows.
  private static func cast<T, Base>(_ pointer: UnsafeMutablePointer<T>?, to: Base.Type) -> UnsafeMutablePointer<Base>? {
    UnsafeMutableRawPointer(pointer)?.assumingMemoryBound(to: Base.self)
  }
}
