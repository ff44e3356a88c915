import CGMime
import Foundation
import PasswordReset

/// A message as it goes over the wire, and the addresses of its envelope.
struct EncodedMessage: Sendable {
  /// A bare address; an international domain is in its ASCII form.
  var sender: String
  var recipient: String
  var data: Data
}

/// What a sender may be.
public enum Sender {
  /// Whether `text` is exactly one mailbox: `noreply@example.com` or `Site <noreply@example.com>`.
  ///
  /// Quotation marks may be around the name only, and in pairs. GMime is lenient: it reads
  /// `"Site <noreply@example.com>"` as a local part in quotes.
  public static func accepts(_ text: String) -> Bool {
    guard let address = MIMEEncoder.address(of: text) else { return false }
    let marks = text.replacingOccurrences(of: "\\\"", with: "").count { $0 == "\"" }
    return marks.isMultiple(of: 2) && !address.contains("\"") && !address.hasPrefix("'") && !address.hasSuffix("'")
  }
}

/// Puts messages into MIME, by GMime.
enum MIMEEncoder {
  enum Form {
    /// For SMTP: seven bits, lines ended by CR LF.
    case wire
    /// For a program: seven bits, lines ended by LF.
    case pipe
    /// For a person's eye: UTF-8 as it is, lines ended by LF.
    case readable
  }

  private static let initialized: Void = g_mime_init()

  static func encode(_ message: EmailMessage, as form: Form) throws(MailError) -> EncodedMessage {
    _ = initialized
    let from = internet_address_list_parse(nil, message.sender)
    defer { if let from { g_object_unref(from) } }
    guard let from, let sender = envelopeAddress(from) else {
      throw .unavailable(reason: "DEFAULT_FROM_EMAIL is not one mailbox; set it to an address such as noreply@example.com")
    }
    // A stored address is data: whatever it holds, it must not become a second recipient or a header.
    let to = internet_address_list_parse(nil, message.recipient)
    defer { if let to { g_object_unref(to) } }
    guard let to, let recipient = envelopeAddress(to), isWhole(message.recipient, to, recipient) else {
      throw .permanent(reason: "the stored address is not one mail address")
    }
    return EncodedMessage(sender: sender, recipient: recipient, data: bytes(of: message, from: from, to: to, as: form))
  }

  /// The bare address that `text`, a mailbox, names; an international domain is in its ASCII form. Nil if it is not exactly one mailbox.
  static func address(of text: String) -> String? {
    _ = initialized
    let list = internet_address_list_parse(nil, text)
    defer { if let list { g_object_unref(list) } }
    return text.contains(where: \.isNewline) ? nil : list.flatMap(envelopeAddress)
  }

  /// Whether `text` is the bare address that GMime read in it and nothing else; GMime reads an `xn--` domain as what it stands for.
  private static func isWhole(_ text: String, _ list: UnsafeMutablePointer<InternetAddressList>, _ ascii: String) -> Bool {
    bareAddress(list)?.utf8.elementsEqual(text.utf8) == true || ascii.lowercased().utf8.elementsEqual(text.lowercased().utf8)
  }

  private static func bytes(
    of message: EmailMessage, from: UnsafeMutablePointer<InternetAddressList>, to: UnsafeMutablePointer<InternetAddressList>, as form: Form
  ) -> Data {
    let mime = g_mime_message_new(1)
    defer { g_object_unref(mime) }
    internet_address_list_append(g_mime_message_get_addresses(mime, GMIME_ADDRESS_TYPE_FROM), from)
    internet_address_list_append(g_mime_message_get_addresses(mime, GMIME_ADDRESS_TYPE_TO), to)
    setSubject(message.subject, of: mime)
    g_mime_message_set_message_id(mime, message.messageID)
    let date = g_date_time_new_from_unix_utc(Int(message.date.timeIntervalSince1970))
    g_mime_message_set_date(mime, date)
    g_date_time_unref(date)
    // RFC 3834: no vacation notice answers a mail that a machine sent.
    g_mime_object_set_header(object(mime), "Auto-Submitted", "auto-generated", nil)

    g_mime_object_set_header(object(mime), "Content-Language", message.language, nil)

    let content = content(of: message)
    g_mime_message_set_mime_part(mime, content)
    g_object_unref(content)
    return write(object(mime), as: form)
  }

  /// GMime leaves ASCII as it is; but text that looks like an encoded word (RFC 2047) would be read as what it seems to encode.
  private static func setSubject(_ subject: String, of mime: UnsafeMutablePointer<GMimeMessage>?) {
    guard subject.contains("=?") else { return g_mime_message_set_subject(mime, subject, "utf-8") }
    var chunks = [""]
    for scalar in subject.unicodeScalars {
      // An encoded word has 75 characters at most, 60 of them base64 here.
      if chunks[chunks.count - 1].utf8.count > 41 { chunks.append("") }
      chunks[chunks.count - 1].unicodeScalars.append(scalar)
    }
    let words = chunks.map { "=?utf-8?b?\(Data($0.utf8).base64EncodedString())?=" }
    g_mime_object_set_header(object(mime), "Subject", words.joined(separator: " "), nil)
  }

  /// The text alone or, with HTML beside it, both, the best last (RFC 2046 section 5.1.4).
  private static func content(of message: EmailMessage) -> UnsafeMutablePointer<GMimeObject>? {
    let text = textPart(message.body, subtype: "plain")
    guard let html = message.html else { return text }
    let alternative = g_mime_multipart_new_with_subtype("alternative")
    for part in [text, textPart(html, subtype: "html")] {
      g_mime_multipart_add(alternative, part)
      g_object_unref(part)
    }
    return object(alternative)
  }

  private static func textPart(_ text: String, subtype: String) -> UnsafeMutablePointer<GMimeObject>? {
    let part = g_mime_text_part_new_with_subtype(subtype)
    g_mime_text_part_set_charset(part, "utf-8")
    g_mime_text_part_set_text(part, text)
    return object(part)
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

  /// The one mailbox that `list` holds.
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
    // A domain that GMime could not put into ASCII is none.
    guard let at = address.lastIndex(of: "@"), address[at...].utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
    return address.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control } ? address : nil
  }

  private static func object<T>(_ pointer: UnsafeMutablePointer<T>?) -> UnsafeMutablePointer<GMimeObject>? { cast(pointer, to: GMimeObject.self) }

  /// GObject's inheritance: a pointer to an instance is a pointer to an instance of each of its classes.
  private static func cast<T, Base>(_ pointer: UnsafeMutablePointer<T>?, to: Base.Type) -> UnsafeMutablePointer<Base>? {
    UnsafeMutableRawPointer(pointer)?.assumingMemoryBound(to: Base.self)
  }
}
