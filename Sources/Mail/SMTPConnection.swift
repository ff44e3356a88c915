import CCurl
import Foundation
import PasswordReset

/// A libcurl handle that keeps its connection open between emails. Only one thread may use it.
final class SMTPConnection {
  private static let initialized: CURLcode = curl_global_init(Int(CURL_GLOBAL_DEFAULT))

  /// The progress of the message that is being sent.
  private struct Progress {
    let transfer: SMTPTransfer
    var position = 0
    /// Whether the server accepted the envelope and asked for the message.
    var hasStarted = false
    /// Whether the message was not sent because the server did not ask for the configured authentication.
    var isUnauthenticated = false
  }

  /// What differs between the configurations of a handle.
  private struct Configuration: Equatable {
    let token: String?
    let mechanism: SMTPMechanism?
  }

  private let settings: SMTPSettings
  private let mechanism: SMTPMechanism.Memory
  private let handle: UnsafeMutableRawPointer?
  private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
  private var session: SMTPSession
  private var clientName = ""
  /// What the handle is configured for; `nil` if it must be configured again.
  private var configuration: Configuration?
  private var progress: Progress?
  /// Whether the server must offer SMTPUTF8 for the current message.
  private var needsUTF8 = false

  init(_ settings: SMTPSettings, mechanism: SMTPMechanism.Memory = .init()) {
    _ = Self.initialized
    self.settings = settings
    self.mechanism = mechanism
    session = SMTPSession(usesStartTLS: settings.security == .startTLS)
    handle = curl_easy_init()
  }

  deinit {
    // Otherwise libcurl would wait up to two minutes for the reply to QUIT.
    let socket = curl_kept_socket(handle)
    if socket != CURL_SOCKET_BAD { shutdown(socket, Int32(SHUT_RDWR)) }
    curl_easy_cleanup(handle)
    errorText.deallocate()
  }

  /// Sends one message. It blocks for up to twice the timeout.
  func perform(_ transfer: SMTPTransfer) -> Result<Void, MailError> {
    let message = transfer.message
    let recipients = curl_slist_append(nil, message.recipient)
    defer { curl_slist_free_all(recipients) }
    needsUTF8 = !message.isEnvelopeASCII
    return signingIn(sender: message.sender, token: transfer.token) {
      curl_set_string(handle, CURLOPT_MAIL_FROM, message.sender)
      curl_set_pointer(handle, CURLOPT_MAIL_RCPT, recipients)
      // Only a new connection shows whether the server offers SMTPUTF8.
      curl_set_long(handle, CURLOPT_FRESH_CONNECT, needsUTF8 ? 1 : 0)
      attachMessageCallbacks()
      progress = Progress(transfer: transfer)
      defer { progress = nil }
      let result = curl_easy_perform(handle)
      return (result, result == CURLE_OK ? nil : error(result, message))
    }
  }

  /// Connects, authenticates, and asks whether the server would take an email from `sender`, without sending one. It blocks for up to
  /// twice the timeout.
  func check(sender: String, token: String?) -> Result<Void, MailError> {
    // A server may refuse the sender's mailbox as a recipient, but refuses a client, a login or a sender for every recipient.
    let envelope = EncodedMessage(sender: sender, recipient: sender, data: [])
    needsUTF8 = !envelope.isEnvelopeASCII
    return signingIn(sender: sender, token: token) {
      curl_set_long(handle, CURLOPT_CONNECT_ONLY, 1)
      let result = curl_easy_perform(handle)
      guard result == CURLE_OK else { return (result, error(result, envelope)) }
      guard settings.username == nil || session.isAuthenticated else { return (result, noAuthentication) }
      return (result, checkEnvelope(envelope))
    }
  }

  /// Does `work` on a connection that is signed in. With a password, it tries the offered mechanisms one after the other, because a
  /// server may refuse one and accept the next (RFC 4954 section 4), and libcurl tries one only.
  private func signingIn(sender: String, token: String?, _ work: () -> (CURLcode, MailError?)) -> Result<Void, MailError> {
    if clientName.isEmpty { clientName = settings.clientName ?? ClientName.automatic(sender: sender) }
    let deadline = Date(timeIntervalSinceNow: TimeInterval(settings.timeout))
    var candidates: [SMTPMechanism?] = [nil]
    if case .password = settings.credential { candidates = mechanism.candidates }
    var refusal: MailError?
    var offered: [String] = []
    while !candidates.isEmpty {
      let next = candidates.removeFirst()
      configure(Configuration(token: token, mechanism: next), timeout: Int(deadline.timeIntervalSinceNow.rounded(.up)))
      let (result, error) = work()
      offered = session.mechanisms
      let isFinal = session.last?.code == 421
      // libcurl closes the connection after an error.
      if result != CURLE_OK { session = SMTPSession(usesStartTLS: session.usesStartTLS) }
      guard result == CURLE_LOGIN_DENIED, let candidate = next else {
        if let next, result == CURLE_OK { mechanism.remember(next) }
        return error.map { .failure($0) } ?? .success(())
      }
      if offered.contains(candidate.rawValue) { refusal = error }
      candidates.removeAll { $0.map { offered.contains($0.rawValue) } != true }
      if isFinal || deadline <= Date() { return .failure(error ?? noCommonMechanism(offered)) }
    }
    return .failure(refusal ?? noCommonMechanism(offered))
  }

  /// Configures the handle, unless it is already configured so and has the whole time.
  private func configure(_ wanted: Configuration, timeout: Int) {
    errorText.pointee = 0
    guard wanted != configuration || timeout < settings.timeout else { return }
    configuration = timeout < settings.timeout ? nil : wanted
    curl_easy_reset(handle)
    let host = settings.host.contains(":") ? "[\(settings.host)]" : settings.host
    let scheme = settings.security == .implicitTLS ? "smtps" : "smtp"
    // libcurl introduces itself by the path of the URL.
    let name = clientName.addingPercentEncoding(withAllowedCharacters: .urlHostAllowed.subtracting(["[", "]", ":"])) ?? ""
    curl_set_string(handle, CURLOPT_URL, "\(scheme)://\(host):\(settings.port)/\(name)")
    curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "smtp,smtps")
    curl_set_string(handle, CURLOPT_PROXY, "")
    curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
    // A new token needs a new connection. Close the old one instead of keeping both.
    curl_set_long(handle, CURLOPT_MAXCONNECTS, 1)
    curl_set_long(handle, CURLOPT_TIMEOUT, max(timeout, 1))
    // This also bounds the wait for the reply to QUIT, which CURLOPT_TIMEOUT does not.
    curl_set_long(handle, CURLOPT_SERVER_RESPONSE_TIMEOUT, settings.timeout)
    if settings.security == .startTLS { curl_set_long(handle, CURLOPT_USE_SSL, Int(CURLUSESSL_ALL.rawValue)) }
    if let username = settings.username { curl_set_string(handle, CURLOPT_USERNAME, username) }
    if case .password(let password) = settings.credential { curl_set_string(handle, CURLOPT_PASSWORD, password) }
    if let mechanism = wanted.mechanism { curl_set_string(handle, CURLOPT_LOGIN_OPTIONS, "AUTH=\(mechanism.rawValue)") }
    if let token = wanted.token {
      curl_set_string(handle, CURLOPT_XOAUTH2_BEARER, token)
      curl_set_string(handle, CURLOPT_LOGIN_OPTIONS, "AUTH=XOAUTH2")
    }
    if let file = settings.certificateFile { curl_set_string(handle, CURLOPT_SSLCERT, file) }
    if let file = settings.keyFile { curl_set_string(handle, CURLOPT_SSLKEY, file) }
    if let file = settings.authoritiesFile {
      curl_set_string(handle, CURLOPT_CAINFO, file)
      // Otherwise libcurl would also trust the authorities in the system's folder.
      curl_set_string(handle, CURLOPT_CAPATH, nil)
    }
    curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorText)
    attachReplyCallback()
  }

  private func attachMessageCallbacks() {
    let pointer = Unmanaged.passUnretained(self).toOpaque()
    curl_set_long(handle, CURLOPT_UPLOAD, 1)
    curl_set_pointer(handle, CURLOPT_READDATA, pointer)
    curl_set_read_function(handle) { buffer, size, count, pointer in
      SMTPConnection.from(pointer)?.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: size * count)) ?? 0
    }
    curl_set_long(handle, CURLOPT_NOPROGRESS, 0)
    curl_set_pointer(handle, CURLOPT_XFERINFODATA, pointer)
    curl_set_progress_function(handle) { pointer, _, _, _, _ in SMTPConnection.from(pointer)?.progress?.transfer.isCancelled == true ? 1 : 0 }
  }

  private func attachReplyCallback() {
    curl_set_pointer(handle, CURLOPT_HEADERDATA, Unmanaged.passUnretained(self).toOpaque())
    curl_set_header_function(handle) { line, size, count, pointer in
      let isWanted = SMTPConnection.from(pointer)?.observeReply(UnsafeMutableRawBufferPointer(start: line, count: size * count)) ?? true
      return isWanted ? size * count : 0
    }
  }

  private static func from(_ pointer: UnsafeMutableRawPointer?) -> SMTPConnection? {
    pointer.map { Unmanaged<SMTPConnection>.fromOpaque($0).takeUnretainedValue() }
  }

  /// Copies the next part of the message to `buffer` and returns its length, which is 0 at the end.
  private func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    guard let transfer = progress?.transfer, let position = progress?.position else { return 0 }
    progress?.hasStarted = true
    // If the server offers no authentication, libcurl continues without it. Like Django, refuse to send if a user name
    // is configured.
    guard settings.username == nil || session.isAuthenticated else {
      progress?.isUnauthenticated = true
      return Int(CURL_READFUNC_ABORT)
    }
    let part = transfer.message.data[position...].prefix(buffer.count)
    part.withUnsafeBytes(buffer.copyMemory)
    progress?.position += part.count
    return part.count
  }

  /// Reads a line of the server, and returns whether to go on with the message.
  private func observeReply(_ line: UnsafeMutableRawBufferPointer) -> Bool {
    session.observe(line)
    return !isWithoutUTF8
  }

  /// Whether the server does not offer what the addresses need (RFC 6531 section 3.2).
  private var isWithoutUTF8: Bool { needsUTF8 && session.isIntroduced && !session.offersUTF8 }

  private var server: String { "\(settings.host):\(settings.port)" }

  private var noAuthentication: MailError {
    .unavailable(reason: "\(server): the server offers no login; unset EMAIL_HOST_USER and EMAIL_HOST_PASSWORD, or check EMAIL_PORT")
  }

  private func noCommonMechanism(_ offered: [String]) -> MailError {
    let names = SMTPMechanism.allCases.map(\.rawValue).joined(separator: ", ")
    let offer = offered.isEmpty ? "no mechanism" : offered.prefix(10).joined(separator: " ")
    return .unavailable(
      reason: """
        \(server): Login denied; the server offers \(offer), and a password needs one of \(names): set EMAIL_OAUTH2_TOKEN_FILE, or check EMAIL_PORT
        """)
  }

  private var cutRemedy: String {
    "; the server closed the connection after EHLO with the client name \(clientName): if it does so each time, set EMAIL_HELO_NAME"
  }

  private func noUTF8(_ message: EncodedMessage) -> MailError {
    let detail = "\(server): the server does not offer SMTPUTF8, which an address needs whose part before the @ is not ASCII"
    return message.sender.utf8.allSatisfy { $0 < 0x80 }
      ? .permanent(reason: detail) : .unavailable(reason: detail + "; set DEFAULT_FROM_EMAIL to another address")
  }

  private func error(_ result: CURLcode, _ message: EncodedMessage) -> MailError {
    if progress?.isUnauthenticated == true { return noAuthentication }
    if isWithoutUTF8 { return noUTF8(message) }
    if let refusal = session.helloRefusal {
      return .unavailable(reason: "\(server): EHLO failed: \(refusal.code)\(SMTPRefusal.clientName.remedy(clientName: clientName))")
    }
    let isCut = session.awaitsHello && [CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_GOT_NOTHING].contains(result)
    let detail = errorText.pointee == 0 ? String(cString: curl_easy_strerror(result)) : String(cString: errorText)
    let code = curl_response_code(handle)
    // libcurl's text contains the code of most replies, but not for "Weird server reply".
    let replyCode = result == CURLE_WEIRD_SERVER_REPLY && code > 0 ? " (\(code))" : ""
    let reason = "\(server): \(detail)\(replyCode)\(isCut ? cutRemedy : Self.remedy(for: result, settings))"
    // Only a reply to the envelope or to the message refuses this email. The greeting can cause the same libcurl error
    // as the message, so check that the message has started. After a failed authentication (RFC 4954) the email waits
    // until the operator has fixed the settings.
    let isRefusal = result == CURLE_SEND_ERROR || result == CURLE_WEIRD_SERVER_REPLY && progress?.hasStarted == true
    guard isRefusal, let last = session.last, last.code == code else { return .unavailable(reason: reason) }
    let stage: SMTPRefusal.Stage =
      progress?.hasStarted == true ? .text : detail.hasPrefix("MAIL") ? .mail : detail.hasPrefix("DATA") ? .data : .recipient
    return error(about: last, at: stage, message, reason)
  }

  /// Returns the error for a refusal of the envelope or of the message.
  private func error(about reply: SMTPSession.Reply, at stage: SMTPRefusal.Stage, _ message: EncodedMessage, _ reason: String) -> MailError {
    let refusal = SMTPRefusal(reply, at: stage, recipient: message.recipient)
    let reason = reason + (refusal?.remedy(clientName: clientName) ?? "")
    // After 421 the server closes the connection (RFC 5321 section 3.8).
    guard reply.code != 421 else { return .unavailable(reason: reason) }
    guard (500...599).contains(reply.code) else { return .transient(reason: reason) }
    return refusal == nil ? .permanent(reason: reason) : .unavailable(reason: reason)
  }

  private static func remedy(for result: CURLcode, _ settings: SMTPSettings) -> String {
    switch result {
    case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT: "; check EMAIL_HOST and EMAIL_PORT"
    case CURLE_USE_SSL_FAILED: "; the server does not offer STARTTLS, which EMAIL_USE_TLS requires: check EMAIL_PORT, or use EMAIL_USE_SSL"
    case CURLE_PEER_FAILED_VERIFICATION: "; the server's certificate is not trusted: check EMAIL_HOST, or name its authority in SSL_CERT_FILE"
    case CURLE_SSL_CONNECT_ERROR: "; the server does not use TLS on this port: check EMAIL_PORT, EMAIL_USE_TLS and EMAIL_USE_SSL"
    case CURLE_LOGIN_DENIED:
      if case .tokenFile = settings.credential {
        "; check EMAIL_HOST_USER and that EMAIL_OAUTH2_TOKEN_FILE holds a token that is still valid"
      } else {
        "; check EMAIL_HOST_USER and EMAIL_HOST_PASSWORD"
      }
    case CURLE_OPERATION_TIMEDOUT: "; check EMAIL_HOST and EMAIL_PORT, or raise EMAIL_TIMEOUT"
    default: ""
    }
  }

  /// Sends the envelope of `message` over the connection that libcurl opened, and resets it again.
  private func checkEnvelope(_ message: EncodedMessage) -> MailError? {
    let parameter = needsUTF8 ? " SMTPUTF8" : ""
    let commands = [
      (SMTPRefusal.Stage.mail, "MAIL", "MAIL FROM:<\(message.sender)>\(parameter)"), (.recipient, "RCPT", "RCPT TO:<\(message.recipient)>"),
    ]
    for (stage, name, command) in commands {
      guard let reply = exchange(command) else { return .unavailable(reason: "\(server): the connection broke after \(name)") }
      guard reply.code >= 400 else { continue }
      // The sender's mailbox may not exist or be busy, which says nothing about other recipients.
      guard reply.code == 421 || SMTPRefusal(reply, at: stage, recipient: message.recipient) != nil else { break }
      return error(about: reply, at: stage, message, "\(server): \(name) failed: \(reply.code)")
    }
    _ = exchange("RSET")
    _ = exchange("QUIT")
    return nil
  }

  /// Sends a command and returns the reply, or `nil` if the connection breaks or the time is over.
  private func exchange(_ command: String) -> SMTPSession.Reply? {
    let deadline = Date(timeIntervalSinceNow: TimeInterval(settings.timeout))
    var bytes = Array((command + "\r\n").utf8)[...]
    while !bytes.isEmpty {
      var count = 0
      switch bytes.withUnsafeBytes({ curl_easy_send(handle, $0.baseAddress, $0.count, &count) }) {
      case CURLE_OK: bytes = bytes.dropFirst(count)
      case CURLE_AGAIN where waitForSocket(POLLOUT, until: deadline): break
      default: return nil
      }
    }
    var received: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    // A reply ends with a line that has no hyphen after its code.
    while received.count < 65536 {
      var count = 0
      switch curl_easy_recv(handle, &buffer, buffer.count, &count) {
      case CURLE_OK where count > 0: received += buffer.prefix(count)
      case CURLE_AGAIN where waitForSocket(POLLIN, until: deadline): continue
      default: return nil
      }
      guard received.last == UInt8(ascii: "\n") else { continue }
      let lines = String(decoding: received, as: UTF8.self).split(whereSeparator: \.isNewline)
      guard let last = lines.last, let code = Int(last.prefix(3)), last.dropFirst(3).first != "-" else { continue }
      return SMTPSession.Reply(code: code, text: lines.map { $0.dropFirst(4) }.joined(separator: " "))
    }
    return nil
  }

  private func waitForSocket(_ events: Int32, until deadline: Date) -> Bool {
    let milliseconds = Int32(max(0, deadline.timeIntervalSinceNow * 1000))
    var descriptor = pollfd(fd: curl_kept_socket(handle), events: Int16(events), revents: 0)
    return poll(&descriptor, 1, milliseconds) > 0
  }
}
