import Foundation
import Localization
import Mail

/// Settings that belong together and that a command can read without the others.
protocol SettingsGroup {
  /// Reads the settings of the group. Errors are collected in the reader.
  init(from reader: inout SettingsReader)
}

extension SettingsGroup {
  /// Reads only this group. Throws ``SettingsError`` with all errors in it.
  init(environment: [String: String]) throws(SettingsError) {
    var reader = SettingsReader(environment: environment)
    self.init(from: &reader)
    try reader.throwErrors()
  }

  /// Reads only this group, so that it can be checked although other settings are wrong. Returns `nil` if there is an error
  /// that may concern it.
  init?(nextToErrorsIn environment: [String: String]) {
    var reader = SettingsReader(environment: environment)
    self.init(from: &reader)
    guard reader.findings.allSatisfy({ $0.kind == .unknownSetting }) else { return nil }
  }
}

/// The complete configuration of the service. It is read once, at startup.
struct Settings: Sendable {
  /// Whether `serve` runs with `--dev`.
  let isDevelopment: Bool
  let http: HTTPSettings
  let database: DatabaseSettings
  let tokens: TokenSettings
  let links: LinkSettings
  let mail: MailSettings
  let webhook: WebhookSettings
  let passwords: PasswordPolicySettings
  /// How many days an audit record is kept.
  let auditDays: Int
  let log: LogSettings
  let languages: Languages
  let templates: MailTemplates
  /// The files that contain secrets, each with the variable that names it.
  let secretFiles: [(name: String, path: String)]
  /// Warnings about values that are used but look wrong.
  let warnings: [Finding]
  /// The value and the source of every setting, without secrets.
  let effective: [SettingName: EffectiveSetting]

  /// Throws ``SettingsError`` with all errors in the configuration.
  /// - Parameters:
  ///   - dev: Whether to use the development defaults: a generated secret key, emails on the terminal, no rate limits.
  ///   - storesKey: Whether to store a secret key that is generated for development.
  init(environment: [String: String], dev: Bool = false, storesKey: Bool = true) throws(SettingsError) {
    var reader = SettingsReader(environment: environment, dev: dev, storesKey: storesKey)
    isDevelopment = dev
    http = HTTPSettings(from: &reader)
    database = DatabaseSettings(from: &reader)
    tokens = TokenSettings(from: &reader)
    links = LinkSettings(from: &reader)
    mail = MailSettings(from: &reader)
    webhook = WebhookSettings(from: &reader)
    passwords = PasswordPolicySettings(from: &reader)
    auditDays = reader.integer(.auditDays, in: 1...3650)
    log = LogSettings(from: &reader)
    if dev, mail.backend == .memory, !HTTPSettings.isLoopback(http.adminHost) {
      reader.addError(.adminHost, "must be localhost, 127.0.0.1 or ::1, because this listener shows the emails.")
    }
    var content: (Languages, MailTemplates)?
    do { content = try mail.content.load() } catch { reader.add(error) }
    secretFiles = reader.secretFiles
    warnings = reader.warnings
    effective = reader.effective
    try reader.throwReport()
    guard let content else { throw SettingsError(reader.findings) }
    (languages, templates) = content
  }
}
