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

  private let settings: SMTPSettings
  private let handle: UnsafeMutableRawPointer?
  private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
  /// Whether the server has accepted the user name and its secret.
  private var isAuthenticated = false
  private var progress: Progress?

  init(_ settings: SMTPSettings) {
    _ = Self.initialized
    self.settings = settings
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
    let recipients = curl_slist_append(nil, transfer.message.recipient)
    defer { curl_slist_free_all(recipients) }
    curl_easy_reset(handle)
    configure(token: transfer.token)
    curl_set_string(handle, CURLOPT_MAIL_FROM, transfer.message.sender)
    curl_set_pointer(handle, CURLOPT_MAIL_RCPT, recipients)
    errorText.pointee = 0
    curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorText)
    attachMessageCallbacks()
    progress = Progress(transfer: transfer)
    defer { progress = nil }
    let result = curl_easy_perform(handle)
    return result == CURLE_OK ? .success(()) : .failure(error(result))
  }

  /// Connects and authenticates without sending a message. It blocks for up to the timeout.
  func connect(token: String?) -> Result<Void, MailError> {
    curl_easy_reset(handle)
    configure(token: token)
    curl_set_long(handle, CURLOPT_CONNECT_ONLY, 1)
    errorText.pointee = 0
    curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorText)
    attachReplyCallback()
    let result = curl_easy_perform(handle)
    guard result == CURLE_OK else { return .failure(error(result)) }
    return settings.username == nil || isAuthenticated ? .success(()) : .failure(noAuthentication)
  }

  private func configure(token: String?) {
    let host = settings.host.contains(":") ? "[\(settings.host)]" : settings.host
    let scheme = settings.security == .implicitTLS ? "smtps" : "smtp"
    curl_set_string(handle, CURLOPT_URL, "\(scheme)://\(host):\(settings.port)")
    curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "smtp,smtps")
    curl_set_string(handle, CURLOPT_PROXY, "")
    curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
    // A new token needs a new connection. Close the old one instead of keeping both.
    curl_set_long(handle, CURLOPT_MAXCONNECTS, 1)
    curl_set_long(handle, CURLOPT_TIMEOUT, settings.timeout)
    // This also bounds the wait for the reply to QUIT, which CURLOPT_TIMEOUT does not.
    curl_set_long(handle, CURLOPT_SERVER_RESPONSE_TIMEOUT, settings.timeout)
    if settings.security == .startTLS { curl_set_long(handle, CURLOPT_USE_SSL, Int(CURLUSESSL_ALL.rawValue)) }
    if let username = settings.username { curl_set_string(handle, CURLOPT_USERNAME, username) }
    if case .password(let password) = settings.credential { curl_set_string(handle, CURLOPT_PASSWORD, password) }
    if let token {
      curl_set_string(handle, CURLOPT_XOAUTH2_BEARER, token)
      curl_set_string(handle, CURLOPT_LOGIN_OPTIONS, "AUTH=XOAUTH2")
    }
    if let file = settings.certificateFile { curl_set_string(handle, CURLOPT_SSLCERT, file) }
    if let file = settings.keyFile { curl_set_string(handle, CURLOPT_SSLKEY, file) }
    if let file = settings.authoritiesFile { curl_set_string(handle, CURLOPT_CAINFO, file) }
  }

  private func attachMessageCallbacks() {
    let pointer = Unmanaged.passUnretained(self).toOpaque()
    curl_set_long(handle, CURLOPT_UPLOAD, 1)
    curl_set_pointer(handle, CURLOPT_READDATA, pointer)
    curl_set_read_function(handle) { buffer, size, count, pointer in
      SMTPConnection.from(pointer)?.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: size * count)) ?? 0
    }
    attachReplyCallback()
    curl_set_long(handle, CURLOPT_NOPROGRESS, 0)
    curl_set_pointer(handle, CURLOPT_XFERINFODATA, pointer)
    curl_set_progress_function(handle) { pointer, _, _, _, _ in SMTPConnection.from(pointer)?.progress?.transfer.isCancelled == true ? 1 : 0 }
  }

  private func attachReplyCallback() {
    curl_set_pointer(handle, CURLOPT_HEADERDATA, Unmanaged.passUnretained(self).toOpaque())
    curl_set_header_function(handle) { line, size, count, pointer in
      SMTPConnection.from(pointer)?.observeReply(UnsafeRawBufferPointer(start: line, count: size * count))
      return size * count
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
    guard settings.username == nil || isAuthenticated else {
      progress?.isUnauthenticated = true
      return Int(CURL_READFUNC_ABORT)
    }
    let part = transfer.message.data.dropFirst(position).prefix(buffer.count)
    part.copyBytes(to: buffer)
    progress?.position += part.count
    return part.count
  }

  /// Follows the authentication: 220 starts a connection or TLS on it, and 235 ends a successful AUTH (RFC 4954).
  private func observeReply(_ line: UnsafeRawBufferPointer) {
    if line.starts(with: Data("220".utf8)) { isAuthenticated = false }
    if line.starts(with: Data("235".utf8)) { isAuthenticated = true }
  }

  private var noAuthentication: MailError {
    .unavailable(
      reason: "\(settings.host):\(settings.port): the server offers no login; unset EMAIL_HOST_USER and EMAIL_HOST_PASSWORD, or check EMAIL_PORT")
  }

  private func error(_ result: CURLcode) -> MailError {
    if progress?.isUnauthenticated == true { return noAuthentication }
    let detail = errorText.pointee == 0 ? String(cString: curl_easy_strerror(result)) : String(cString: errorText)
    let code = curl_response_code(handle)
    // libcurl's text contains the code of most replies, but not for "Weird server reply".
    let replyCode = result == CURLE_WEIRD_SERVER_REPLY && code > 0 ? " (\(code))" : ""
    let reason = "\(settings.host):\(settings.port): \(detail)\(replyCode)\(Self.remedy(for: result, settings))"
    // Only a reply to the envelope or to the message refuses this email. The greeting can cause the same libcurl error
    // as the message, so check that the message has started. After a failed authentication (RFC 4954) the email waits
    // until the operator has fixed the settings.
    let isRefusal = result == CURLE_SEND_ERROR || result == CURLE_WEIRD_SERVER_REPLY && progress?.hasStarted == true
    // After 421 the server closes the connection (RFC 5321 section 3.8).
    guard isRefusal, ![421, 530, 534, 535, 538].contains(code) else { return .unavailable(reason: reason) }
    return (500...599).contains(code) ? .permanent(reason: reason) : .transient(reason: reason)
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
}
