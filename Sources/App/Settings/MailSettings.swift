import Foundation
import Mail
import PasswordReset

/// How emails are sent, how many, and what they contain.
struct MailSettings: SettingsGroup, Sendable {
  /// Django's backends by their short names, and sendmail. To add a backend, add a case here and in ``makeBackend(now:)``.
  enum Backend: String, CaseIterable {
    case smtp, sendmail, console, file, memory, dummy
  }

  let content: MailContentSettings
  let backend: Backend
  let smtp: SMTPSettings
  /// The command of the `sendmail` backend.
  let sendmail: SendmailBackend
  /// The directory of the `file` backend.
  let directory: String?
  /// The number of slots: how many emails are sent at once.
  let connections: Int
  /// How many emails are sent per unit of time, or `nil` for no limit.
  let rate: RateLimit?
  /// How many reset emails one address gets.
  let addressLimits: [RateLimit]
  /// How many emails all addresses together get.
  let totalLimits: [RateLimit]
  /// Whether the user gets an email after a password change.
  let notifiesOfChange: Bool
  /// How many accounts with the same address get an email for one request.
  let accountsPerRequest: Int
  /// How many days a dead letter stays in the outbox.
  let deadLetterDays: Int
  /// The settings that have a value and that the backend does not use.
  let unusedSettings: [SettingName]

  init(from reader: inout SettingsReader) {
    content = MailContentSettings(from: &reader)
    backend = Self.backend(from: &reader)
    directory = reader.optionalString(.emailFilePath)
    if backend == .file, directory == nil {
      reader.addError(.emailFilePath, "is required by EMAIL_BACKEND=file: the directory for the emails.", kind: .missingSetting)
    }
    smtp = SMTPSettings(from: &reader)
    sendmail = Self.sendmail(from: &reader, timeout: smtp.timeout)
    if backend == .sendmail, !sendmail.isExecutable {
      let hint = "Install one, such as Postfix, or check the path and its permissions."
      reader.addError(.emailSendmailCommand, "names a program that does not exist or cannot be run.", kind: .unreadableFile, hint: hint)
    }
    connections = reader.integer(.emailConnections, in: 1...64)
    rate = reader.value(.emailRateLimit, message: "must be one rate limit, such as 14/s, or off.") { text -> RateLimit?? in
      guard let limits = RateLimit.parse(text), limits.count <= 1 else { return nil }
      return .some(limits.first)
    }
    addressLimits = reader.rateLimits(.rateLimitMails)
    totalLimits = reader.rateLimits(.rateLimitMailsTotal)
    notifiesOfChange = reader.boolean(.emailPasswordChanged)
    accountsPerRequest = reader.integer(.emailAccountsPerRequest, in: 1...1000)
    deadLetterDays = reader.integer(.emailDeadLetterDays, in: 1...3650)
    unusedSettings = Self.unused(by: backend, in: reader)
  }

  private static func backend(from reader: inout SettingsReader) -> Backend {
    let backend: Backend? = reader.optionalChoice(.emailBackend, aliases: namesOfDjango)
    if backend == nil, !reader.isSet(.emailBackend) {
      let hint = "Set EMAIL_BACKEND=smtp to send emails; console and file are for development."
      reader.addError(.emailBackend, "is required.", kind: .missingSetting, hint: hint)
    }
    return backend ?? .dummy
  }

  /// Django's names for its backends.
  private static let namesOfDjango: [String: Backend] = [
    "django.core.mail.backends.smtp.EmailBackend": .smtp, "django.core.mail.backends.console.EmailBackend": .console,
    "django.core.mail.backends.filebased.EmailBackend": .file, "django.core.mail.backends.locmem.EmailBackend": .memory,
    "django.core.mail.backends.dummy.EmailBackend": .dummy,
  ]

  /// The settings that are set and that the chosen backend does not use.
  private static func unused(by backend: Backend, in reader: SettingsReader) -> [SettingName] {
    let ofSMTP: [SettingName] = [
      .emailHost, .emailPort, .emailHostUser, .emailHostPassword, .emailOAuth2TokenFile, .emailUseTLS, .emailUseSSL, .emailSSLCertfile,
      .emailSSLKeyfile,
    ]
    let used: [Backend: [SettingName]] = [.smtp: ofSMTP, .sendmail: [.emailSendmailCommand], .file: [.emailFilePath]]
    return used.filter { $0.key != backend }.flatMap(\.value).filter(reader.isSet)
  }

  private static func sendmail(from reader: inout SettingsReader, timeout: Int) -> SendmailBackend {
    reader.value(
      .emailSendmailCommand, message: "must be the absolute path of a program and its arguments, without quotation marks.",
      hint: "{sender} and {recipient} must be separate arguments."
    ) { SendmailBackend(command: $0, timeout: timeout) }
  }

  static let folderMessage = "EMAIL_FILE_PATH names a directory that cannot be created or written to. Check the path and its permissions."

  /// Returns the configured backend. Throws ``CommandError`` if its directory cannot be used.
  func makeBackend(now: Date) throws -> any MailBackend {
    switch backend {
    case .smtp: return SMTPBackend(smtp, connections: connections)
    case .sendmail: return sendmail
    case .console: return ConsoleBackend()
    case .file:
      do {
        return try FileBackend(folder: directory ?? ".", now: now)
      } catch {
        throw CommandError(message: Self.folderMessage, code: CommandError.configuration)
      }
    case .memory: return MemoryBackend()
    case .dummy: return DummyBackend()
    }
  }
}
