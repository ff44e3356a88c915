import CCurl
import Foundation
import PasswordReset

/// A libcurl handle, which keeps its connection open between mails. It is its thread's alone.
final class SMTPConnection {
  private static let initialized: CURLcode = curl_global_init(Int(CURL_GLOBAL_DEFAULT))

  /// What is being sent.
  private struct Progress {
    let transfer: SMTPTransfer
    var position = 0
    /// Whether the server took the envelope and asked for the message.
    var hasStarted = false
    /// Whether the message was held back because the server let us in without the login that is configured.
    var isWithoutLogin = false
  }

  private let settings: SMTPSettings
  private let handle: UnsafeMutableRawPointer?
  private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
  /// Whether the server has taken our login.
  private var hasLoggedIn = false
  private var progress: Progress?

  init(_ settings: SMTPSettings) {
    _ = Self.initialized
    self.settings = settings
    handle = curl_easy_init()
  }

  deinit {
    // libcurl would wait two minutes for a silent server's answer to QUIT.
    let socket = curl_kept_socket(handle)
    if socket != CURL_SOCKET_BAD { shutdown(socket, Int32(SHUT_RDWR)) }
    curl_easy_cleanup(handle)
    errorText.deallocate()
  }

  /// Sends one message. Blocks for up to twice the timeout.
  func perform(_ transfer: SMTPTransfer) -> Result<Void, MailError> {
    let recipients = curl_slist_append(nil, transfer.message.recipient)
    defer { curl_slist_free_all(recipients) }
    curl_easy_reset(handle)
    configure(token: transfer.token)
    curl_set_string(handle, CURLOPT_MAIL_FROM, transfer.message.sender)
    curl_set_pointer(handle, CURLOPT_MAIL_RCPT, recipients)
    errorText.pointee = 0
    curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorText)
    attachCallbacks()
    progress = Progress(transfer: transfer)
    defer { progress = nil }
    let result = curl_easy_perform(handle)
    return result == CURLE_OK ? .success(()) : .failure(error(result))
  }

  /// Connects and logs in, and sends nothing. Blocks for up to the timeout.
  func connect(token: String?) -> Result<Void, MailError> {
    curl_easy_reset(handle)
    configure(token: token)
    curl_set_long(handle, CURLOPT_CONNECT_ONLY, 1)
    errorText.pointee = 0
    curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorText)
    attachHearing()
    let result = curl_easy_perform(handle)
    guard result == CURLE_OK else { return .failure(error(result)) }
    return settings.username == nil || hasLoggedIn ? .success(()) : .failure(withoutLogin)
  }

  private func configure(token: String?) {
    let host = settings.host.contains(":") ? "[\(settings.host)]" : settings.host
    let scheme = settings.security == .implicitTLS ? "smtps" : "smtp"
    curl_set_string(handle, CURLOPT_URL, "\(scheme)://\(host):\(settings.port)")
    curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "smtp,smtps")
    curl_set_string(handle, CURLOPT_PROXY, "")
    curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
    // Another token means another connection; the one before is closed, not kept.
    curl_set_long(handle, CURLOPT_MAXCONNECTS, 1)
    curl_set_long(handle, CURLOPT_TIMEOUT, settings.timeout)
    // Bounds the wait for the answer to QUIT, too, which CURLOPT_TIMEOUT does not.
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

  private func attachCallbacks() {
    let pointer = Unmanaged.passUnretained(self).toOpaque()
    curl_set_long(handle, CURLOPT_UPLOAD, 1)
    curl_set_pointer(handle, CURLOPT_READDATA, pointer)
    curl_set_read_function(handle) { buffer, size, count, pointer in
      SMTPConnection.from(pointer)?.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: size * count)) ?? 0
    }
    attachHearing()
    curl_set_long(handle, CURLOPT_NOPROGRESS, 0)
    curl_set_pointer(handle, CURLOPT_XFERINFODATA, pointer)
    curl_set_progress_function(handle) { pointer, _, _, _, _ in SMTPConnection.from(pointer)?.progress?.transfer.isCancelled == true ? 1 : 0 }
  }

  private func attachHearing() {
    curl_set_pointer(handle, CURLOPT_HEADERDATA, Unmanaged.passUnretained(self).toOpaque())
    curl_set_header_function(handle) { line, size, count, pointer in
      SMTPConnection.from(pointer)?.hear(UnsafeRawBufferPointer(start: line, count: size * count))
      return size * count
    }
  }

  private static func from(_ pointer: UnsafeMutableRawPointer?) -> SMTPConnection? {
    pointer.map { Unmanaged<SMTPConnection>.fromOpaque($0).takeUnretainedValue() }
  }

  /// Fills `buffer` with what comes next of the message; 0 at its end.
  private func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    guard let transfer = progress?.transfer, let position = progress?.position else { return 0 }
    progress?.hasStarted = true
    // libcurl goes on without a login where none is offered; Django does not, and whoever configured one means it.
    guard settings.username == nil || hasLoggedIn else {
      progress?.isWithoutLogin = true
      return Int(CURL_READFUNC_ABORT)
    }
    let part = transfer.message.data.dropFirst(position).prefix(buffer.count)
    part.copyBytes(to: buffer)
    progress?.position += part.count
    return part.count
  }

  /// Follows the login: 220 begins a connection, or TLS on it, and 235 ends an AUTH that succeeded (RFC 4954).
  private func hear(_ line: UnsafeRawBufferPointer) {
    if line.starts(with: Data("220".utf8)) { hasLoggedIn = false }
    if line.starts(with: Data("235".utf8)) { hasLoggedIn = true }
  }

  private var withoutLogin: MailError {
    .unavailable(
      reason: "\(settings.host):\(settings.port): the server offers no login; unset EMAIL_HOST_USER and EMAIL_HOST_PASSWORD, or check EMAIL_PORT")
  }

  private func error(_ result: CURLcode) -> MailError {
    if progress?.isWithoutLogin == true { return withoutLogin }
    let detail = errorText.pointee == 0 ? String(cString: curl_easy_strerror(result)) : String(cString: errorText)
    let code = curl_response_code(handle)
    // libcurl names the code of most refusals; "Weird server reply" names none.
    let answer = result == CURLE_WEIRD_SERVER_REPLY && code > 0 ? " (\(code))" : ""
    let reason = "\(settings.host):\(settings.port): \(detail)\(answer)\(Self.remedy(for: result, settings))"
    // Only a refusal of this very mail is for good: of its envelope or, once that is taken, of its text; a greeting gives the latter's code, too.
    // A refused login (RFC 4954) is the operator's to mend, and the mail waits.
    let isRefusal = result == CURLE_SEND_ERROR || result == CURLE_WEIRD_SERVER_REPLY && progress?.hasStarted == true
    // 421 closes the connection on anybody (RFC 5321 section 3.8).
    guard isRefusal, ![421, 530, 534, 535, 538].contains(code) else { return .unavailable(reason: reason) }
    return (500...599).contains(code) ? .permanent(reason: reason) : .transient(reason: reason)
  }

  private static func remedy(for result: CURLcode, _ settings: SMTPSettings) -> String {
    switch result {
    case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT: "; check EMAIL_HOST and EMAIL_PORT"
    case CURLE_USE_SSL_FAILED: "; the server does not offer STARTTLS, which EMAIL_USE_TLS demands: check EMAIL_PORT, or use EMAIL_USE_SSL"
    case CURLE_PEER_FAILED_VERIFICATION: "; the server's certificate is not to be trusted: check EMAIL_HOST, or name its authority in SSL_CERT_FILE"
    case CURLE_SSL_CONNECT_ERROR: "; the server does not speak TLS here: check EMAIL_PORT, EMAIL_USE_TLS and EMAIL_USE_SSL"
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
