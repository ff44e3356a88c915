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

  private static let initialized: Void = g_mime_init()

  /// Returns the encoded message, or throws if the sender or the recipient is not exactly one mailbox.
  static func encode(_ message: EmailMessage, as form: Form) throws(MailError) -> EncodedMessage {
    _ = initialized
    let from = internet_address_list_parse(nil, message.sender)
    defer { if let from { g_object_unref(from) } }
    guard let from, let sender = envelopeAddress(from) else {
      throw .unavailable(reason: "DEFAULT_FROM_EMAIL is not one mailbox; set it to an address such as noreply@example.com")
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
    internet_address_list_append(g_mime_message_get_addresses(mime, GMIME_ADDRESS_TYPE_FROM), from)
    internet_address_list_append(g_mime_message_get_addresses(mime, GMIME_ADDRESS_TYPE_TO), to)
    setSubject(message.subject, of: mime)
    g_mime_message_set_message_id(mime, message.messageID)
    let date = g_date_time_new_from_unix_utc(Int(message.date.timeIntervalSince1970))
    g_mime_message_set_date(mime, date)
    g_date_time_unref(date)
    // No out-of-office reply answers a message with this header (RFC 3834).
    g_mime_object_set_header(object(mime), "Auto-Submitted", "auto-generated", nil)

    g_mime_object_set_header(object(mime), "Content-Language", message.language, nil)

    let content = content(of: message)
    g_mime_message_set_mime_part(mime, content)
    g_object_unref(content)
    return write(object(mime), as: form)
  }

  /// Sets the subject, and encodes one that looks like an encoded word (RFC 2047), because GMime does not encode ASCII.
  private static func setSubject(_ subject: String, of mime: UnsafeMutablePointer<GMimeMessage>?) {
    guard subject.contains("=?") else { return g_mime_message_set_subject(mime, subject, "utf-8") }
    var chunks = [""]
    for scalar in subject.unicodeScalars {
      // An encoded word has at most 75 characters, of which 60 are base64 here.
      if chunks[chunks.count - 1].utf8.count > 41 { chunks.append("") }
      chunks[chunks.count - 1].unicodeScalars.append(scalar)
    }
    let words = chunks.map { "=?utf-8?b?\(Data($0.utf8).base64EncodedString())?=" }
    g_mime_object_set_header(object(mime), "Subject", words.joined(separator: " "), nil)
  }

  /// Returns the text alone, or the text followed by the preferred HTML (RFC 2046 section 5.1.4).
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
