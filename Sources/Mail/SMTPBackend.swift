import CCurl
import Foundation
public import PasswordReset
import Synchronization

/// Where and how the SMTP server is reached: Django's `EMAIL_*` settings.
public struct SMTPSettings: Sendable, Equatable {
  /// How the connection is protected.
  public enum Security: Sendable, Equatable {
    /// Not at all: for a relay on this machine.
    case none
    /// `EMAIL_USE_TLS`: STARTTLS, without which nothing is sent.
    case startTLS
    /// `EMAIL_USE_SSL`: TLS from the first byte.
    case implicitTLS
  }

  /// What proves a user name.
  public enum Credential: Sendable, Equatable {
    /// `EMAIL_HOST_PASSWORD`, by whatever mechanism the server offers: PLAIN, LOGIN, CRAM-MD5 and more.
    case password(String)
    /// `EMAIL_OAUTH2_TOKEN_FILE`: the file that holds an access token, by XOAUTH2. It is read for each mail, as tokens live an hour.
    case tokenFile(String)
  }

  public var host: String
  public var port: Int
  public var security: Security
  public var username: String?
  /// What proves the user name; nil without one.
  public var credential: Credential?
  /// Seconds for one mail, connecting included. After a failure libcurl takes leave of the server, which may last as long again.
  public var timeout: Int
  /// `EMAIL_SSL_CERTFILE`, `EMAIL_SSL_KEYFILE`: a client certificate in PEM form.
  public var certificateFile: String?
  public var keyFile: String?
  /// Certificate authorities in PEM form, in the place of the system's.
  public var authoritiesFile: String?

  public init(
    host: String, port: Int, security: Security, username: String? = nil, credential: Credential? = nil, timeout: Int = 30, certificateFile: String? = nil,
    keyFile: String? = nil, authoritiesFile: String? = nil
  ) {
    self.host = host
    self.port = port
    self.security = security
    self.username = username
    self.credential = credential
    self.timeout = timeout
    self.certificateFile = certificateFile
    self.keyFile = keyFile
    self.authoritiesFile = authoritiesFile
  }
}

extension SMTPSettings {
  /// The access token of the moment; nil if none is used.
  fileprivate func token() throws(MailError) -> String? {
    guard case .tokenFile(let path) = credential else { return nil }
    guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8),
      case let token = text.trimmingCharacters(in: .whitespacesAndNewlines), !token.isEmpty
    else { throw .unavailable(reason: "EMAIL_OAUTH2_TOKEN_FILE names a file without a token, or one that cannot be read") }
    return token
  }
}

/// Sends by SMTP, by libcurl. Connections are kept and used again.
public final class SMTPBackend: MailBackend {
  private let settings: SMTPSettings
  private let idle = Mutex<[SMTPConnection]>([])

  public init(_ settings: SMTPSettings) { self.settings = settings }

  public func send(_ message: EmailMessage) async throws(MailError) {
    let encoded = try MIMEEncoder.encode(message, as: .wire)
    let token = try settings.token()
    let connection = idle.withLock { $0.popLast() } ?? SMTPConnection(needsLogin: settings.username != nil)
    let transfer = SMTPTransfer(encoded, on: connection)
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        // A thread that waits for the network must not be one that the database shares.
        Thread.detachNewThread { [settings] in continuation.resume(returning: connection.perform(transfer, settings, token: token)) }
      }
    } onCancel: {
      transfer.cancel()
    }
    idle.withLock { $0.append(connection) }
    try result.get()
  }
}

/// One message on its way through libcurl's callbacks.
private final class SMTPTransfer: Sendable {
  private struct State {
    var position = 0
    var hasStarted = false
    var isWithoutLogin = false
  }

  let message: EncodedMessage
  private let connection: SMTPConnection
  private let state = Mutex(State())
  private let cancelled = Atomic(false)

  init(_ message: EncodedMessage, on connection: SMTPConnection) {
    self.message = message
    self.connection = connection
  }

  var isCancelled: Bool { cancelled.load(ordering: .relaxed) }
  /// Whether the server took the envelope and asked for the message.
  var hasStarted: Bool { state.withLock { $0.hasStarted } }
  /// Whether the message was held back because the server let us in without the login that is configured.
  var isWithoutLogin: Bool { state.withLock { $0.isWithoutLogin } }

  func cancel() { cancelled.store(true, ordering: .relaxed) }

  /// Fills `buffer` with what comes next; 0 at the end.
  func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    state.withLock { state in
      state.hasStarted = true
      // libcurl goes on without a login where none is offered; Django does not, and whoever configured one means it.
      guard connection.isLoggedIn else {
        state.isWithoutLogin = true
        return Int(CURL_READFUNC_ABORT)
      }
      let part = message.data.dropFirst(state.position).prefix(buffer.count)
      part.copyBytes(to: buffer)
      state.position += part.count
      return part.count
    }
  }

  /// Sees each line that the server says.
  func heard(_ line: UnsafeRawBufferPointer) { connection.heard(line) }

  static func from(_ pointer: UnsafeMutableRawPointer?) -> SMTPTransfer? {
    pointer.map { Unmanaged<SMTPTransfer>.fromOpaque($0).takeUnretainedValue() }
  }
}

/// A libcurl handle, which keeps its connection open between mails.
///
/// Unchecked: libcurl allows a handle on any thread, but on one at a time. The backend takes a handle off its list before use and puts it back after.
private final class SMTPConnection: @unchecked Sendable {
  private static let initialized: CURLcode = curl_global_init(Int(CURL_GLOBAL_DEFAULT))

  private let handle: UnsafeMutableRawPointer?
  private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
  private let needsLogin: Bool
  private let hasLoggedIn = Atomic(false)

  init(needsLogin: Bool) {
    _ = Self.initialized
    self.needsLogin = needsLogin
    handle = curl_easy_init()
  }

  deinit {
    // libcurl would wait two minutes for a silent server's answer to QUIT.
    let socket = curl_kept_socket(handle)
    if socket != CURL_SOCKET_BAD { shutdown(socket, Int32(SHUT_RDWR)) }
    curl_easy_cleanup(handle)
    errorText.deallocate()
  }

  /// Whether the server has taken our login, or needs none.
  var isLoggedIn: Bool { !needsLogin || hasLoggedIn.load(ordering: .relaxed) }

  /// Follows the login: 220 begins a connection, or TLS on it, and 235 ends an AUTH that succeeded (RFC 4954).
  func heard(_ line: UnsafeRawBufferPointer) {
    if line.starts(with: Data("220".utf8)) { hasLoggedIn.store(false, ordering: .relaxed) }
    if line.starts(with: Data("235".utf8)) { hasLoggedIn.store(true, ordering: .relaxed) }
  }

  /// Sends one message. Blocks for up to twice the timeout.
  func perform(_ transfer: SMTPTransfer, _ settings: SMTPSettings, token: String?) -> Result<Void, MailError> {
    let recipients = curl_slist_append(nil, transfer.message.recipient)
    defer { curl_slist_free_all(recipients) }
    curl_easy_reset(handle)
    configure(settings, token: token)
    curl_set_string(handle, CURLOPT_MAIL_FROM, transfer.message.sender)
    curl_set_pointer(handle, CURLOPT_MAIL_RCPT, recipients)
    errorText.pointee = 0
    curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorText)
    let result = withExtendedLifetime(transfer) {
      attach(transfer)
      return curl_easy_perform(handle)
    }
    return result == CURLE_OK ? .success(()) : .failure(error(result, transfer, settings))
  }

  private func configure(_ settings: SMTPSettings, token: String?) {
    let host = settings.host.contains(":") ? "[\(settings.host)]" : settings.host
    let scheme = settings.security == .implicitTLS ? "smtps" : "smtp"
    curl_set_string(handle, CURLOPT_URL, "\(scheme)://\(host):\(settings.port)")
    curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "smtp,smtps")
    curl_set_string(handle, CURLOPT_PROXY, "")
    curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
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

  private func attach(_ transfer: SMTPTransfer) {
    let pointer = Unmanaged.passUnretained(transfer).toOpaque()
    curl_set_long(handle, CURLOPT_UPLOAD, 1)
    curl_set_pointer(handle, CURLOPT_READDATA, pointer)
    curl_set_read_function(handle) { buffer, size, count, pointer in
      SMTPTransfer.from(pointer)?.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: size * count)) ?? 0
    }
    curl_set_pointer(handle, CURLOPT_HEADERDATA, pointer)
    curl_set_header_function(handle) { line, size, count, pointer in
      SMTPTransfer.from(pointer)?.heard(UnsafeRawBufferPointer(start: line, count: size * count))
      return size * count
    }
    curl_set_long(handle, CURLOPT_NOPROGRESS, 0)
    curl_set_pointer(handle, CURLOPT_XFERINFODATA, pointer)
    curl_set_progress_function(handle) { pointer, _, _, _, _ in SMTPTransfer.from(pointer)?.isCancelled == true ? 1 : 0 }
  }

  private func error(_ result: CURLcode, _ transfer: SMTPTransfer, _ settings: SMTPSettings) -> MailError {
    if transfer.isWithoutLogin {
      return .unavailable(
        reason: "\(settings.host):\(settings.port): the server offers no login; unset EMAIL_HOST_USER and EMAIL_HOST_PASSWORD, or check EMAIL_PORT")
    }
    let detail = errorText.pointee == 0 ? String(cString: curl_easy_strerror(result)) : String(cString: errorText)
    let code = curl_response_code(handle)
    // libcurl names the code of most refusals; "Weird server reply" names none.
    let answer = result == CURLE_WEIRD_SERVER_REPLY && code > 0 ? " (\(code))" : ""
    let reason = "\(settings.host):\(settings.port): \(detail)\(answer)\(Self.remedy(for: result, settings))"
    // Only a refusal of this very mail is for good: of its envelope or, once that is taken, of its text; a greeting gives the latter's code, too.
    // A refused login (RFC 4954) is the operator's to mend, and the mail waits.
    let isRefusal = result == CURLE_SEND_ERROR || result == CURLE_WEIRD_SERVER_REPLY && transfer.hasStarted
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
