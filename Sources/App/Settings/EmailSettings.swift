import Foundation
import Mail
import PasswordReset

/// How mail goes out.
struct EmailSettings: Sendable {
  /// Django's backends by their short names, and sendmail. One of your own is a case here and a line in ``makeBackend(now:)``.
  enum Backend: String, CaseIterable {
    case smtp, sendmail, console, file, memory, dummy
  }

  var backend: Backend
  var sender: String
  var smtp: SMTPSettings
  /// For the `file` backend.
  var folder: String?
  /// For the `sendmail` backend.
  var sendmail: SendmailBackend
  var connections: Int
  /// Nil for no limit.
  var rate: RateLimit?
  /// Whether a new password is followed by a notice.
  var notifiesOfChange: Bool
  var accountsPerRequest: Int
  var deadLetterDays: Int

  init(_ reader: inout SettingsReader, sender: String) {
    let backend: Backend? = reader.optionalChoice(.emailBackend)
    if backend == nil, !reader.isSet(.emailBackend) {
      reader.fault(.emailBackend, "is required: smtp sends mail; console and file are for development", .missingSetting)
    }
    self.backend = backend ?? .dummy
    self.sender = sender
    folder = reader.text(.emailFilePath)
    if backend == .file, folder == nil {
      reader.fault(.emailFilePath, "is required by EMAIL_BACKEND=file: the folder for the mails", .missingSetting)
    }
    smtp = Self.smtp(&reader)
    let timeout = smtp.timeout
    sendmail = reader.parsed(
      .emailSendmailCommand,
      remedy: "must be the path of a program and its arguments, without quotes, {sender} and {recipient} being arguments of their own"
    ) { SendmailBackend(command: $0, timeout: timeout) }
    if backend == .sendmail, !sendmail.isExecutable {
      let remedy = "names no program that can be run; install one such as Postfix, or check the path and its permissions"
      reader.fault(.emailSendmailCommand, remedy, .unreadableFile)
    }
    connections = reader.integer(.emailConnections, in: 1...64)
    rate = reader.parsed(.emailRateLimit, remedy: "must be one limit such as 14/s, or off") { text -> RateLimit?? in
      guard let limits = RateLimit.parse(text), limits.count <= 1 else { return nil }
      return .some(limits.first)
    }
    notifiesOfChange = reader.boolean(.emailPasswordChanged)
    accountsPerRequest = reader.integer(.emailAccountsPerRequest, in: 1...1000)
    deadLetterDays = reader.integer(.emailDeadLetterDays, in: 1...3650)
  }

  private static func smtp(_ reader: inout SettingsReader) -> SMTPSettings {
    let startTLS = reader.boolean(.emailUseTLS)
    let implicitTLS = reader.boolean(.emailUseSSL)
    if startTLS, implicitTLS { reader.fault(.emailUseTLS, "and EMAIL_USE_SSL exclude each other; set one of them", .conflictingSettings) }
    let security: SMTPSettings.Security = implicitTLS ? .implicitTLS : startTLS ? .startTLS : .none
    let username = reader.text(.emailHostUser)
    let credential = credential(of: username, &reader)
    let defaultPort = [.implicitTLS: 465, .startTLS: 587][security] ?? 25
    let host = reader.parsed(.emailHost, remedy: "must be a name or an address alone; the port goes into EMAIL_PORT") { host in
      var address = in6_addr()
      return host.contains(where: { "/@ ".contains($0) }) || host.contains(":") && inet_pton(AF_INET6, host, &address) != 1 ? nil : host
    }
    return SMTPSettings(
      host: host, port: reader.integer(.emailPort, default: defaultPort, in: 1...65535), security: security,
      username: username, credential: credential, timeout: reader.integer(.emailTimeout, in: 1...3600),
      certificateFile: reader.readableFile(.emailSSLCertfile), keyFile: reader.readableFile(.emailSSLKeyfile),
      authoritiesFile: reader.certificateAuthoritiesFile())
  }

  private static func credential(of username: String?, _ reader: inout SettingsReader) -> SMTPSettings.Credential? {
    let password = reader.text(.emailHostPassword)
    let tokenFile = reader.readableFile(.emailOAuth2TokenFile)
    if password != nil, tokenFile != nil {
      reader.fault(.emailOAuth2TokenFile, "and EMAIL_HOST_PASSWORD exclude each other; set one of them", .conflictingSettings)
    }
    if username != nil, password == nil, tokenFile == nil {
      reader.fault(.emailHostPassword, "is required with EMAIL_HOST_USER, or EMAIL_OAUTH2_TOKEN_FILE", .conflictingSettings)
    }
    if username == nil, password != nil { reader.fault(.emailHostUser, "is required with EMAIL_HOST_PASSWORD", .conflictingSettings) }
    if username == nil, tokenFile != nil { reader.fault(.emailHostUser, "is required with EMAIL_OAUTH2_TOKEN_FILE", .conflictingSettings) }
    return tokenFile.map { .tokenFile($0) } ?? password.map { .password($0) }
  }
}

extension EmailSettings {
  /// The configured backend. Throws ``CommandError`` if its folder cannot be made.
  func makeBackend(now: Date) throws -> any MailBackend {
    switch backend {
    case .smtp: return SMTPBackend(smtp, connections: connections)
    case .sendmail: return sendmail
    case .console: return ConsoleBackend()
    case .file:
      do {
        return try FileBackend(folder: folder ?? ".", now: now)
      } catch {
        throw CommandError(message: "EMAIL_FILE_PATH names a folder that cannot be made or written to", code: CommandError.configuration)
      }
    case .memory: return MemoryBackend()
    case .dummy: return DummyBackend()
    }
  }
}
