import Foundation
import Mail
import Text

extension SMTPSettings: SettingsGroup {
  init(from reader: inout SettingsReader) {
    let security = Self.security(from: &reader)
    self.init(
      host: reader.value(
        .emailHost, message: "must be only a host name or an address.", hint: "The port must be in EMAIL_PORT.", Self.host(in:)),
      port: reader.integer(.emailPort, default: Self.defaultPort(for: security), in: 1...65535),
      security: security)
    username = reader.optionalString(.emailHostUser)
    credential = Self.credential(of: username, from: &reader)
    clientName = Self.clientName(from: &reader)
    timeout = reader.integer(.emailTimeout, in: 1...3600)
    certificateFile = reader.readableFile(.emailSSLCertfile)
    keyFile = reader.readableFile(.emailSSLKeyfile)
    authoritiesFile = reader.certificateAuthoritiesFile()
  }

  private static func security(from reader: inout SettingsReader) -> Security {
    let startTLS = reader.boolean(.emailUseTLS)
    let implicitTLS = reader.boolean(.emailUseSSL)
    if startTLS, implicitTLS {
      reader.addError(.emailUseTLS, "and EMAIL_USE_SSL are both true. Set only one of them.", kind: .conflictingSettings)
    }
    return implicitTLS ? .implicitTLS : startTLS ? .startTLS : .none
  }

  private static func defaultPort(for security: Security) -> Int {
    switch security {
    case .none: 25
    case .startTLS: 587
    case .implicitTLS: 465
    }
  }

  /// Returns `text` unless it is a URL or contains a port.
  private static func host(in text: String) -> String? {
    HostName.isAddress(text) || HostName.isName(text) ? text : nil
  }

  private static func clientName(from reader: inout SettingsReader) -> String? {
    guard let name = reader.optionalString(.emailHeloName) else { return nil }
    if !ClientName.accepts(name) {
      let hint = "Use this host's name in DNS, or an address in brackets, such as [192.0.2.1]."
      reader.addError(.emailHeloName, "must be a domain name, such as reset.example.com.", hint: hint)
    }
    return name
  }

  private static func credential(of username: String?, from reader: inout SettingsReader) -> Credential? {
    let password = reader.optionalString(.emailHostPassword)
    let tokenFile = reader.readableFile(.emailOAuth2TokenFile)
    if let tokenFile, let content = FileManager.default.contents(atPath: tokenFile), isOtherThanToken(content) {
      let hint = "Write only the token to it: `jq -r .access_token` prints it from a JSON response."
      reader.addError(.emailOAuth2TokenFile, "names a file whose content cannot be an access token.", hint: hint)
    }
    if password != nil, tokenFile != nil {
      reader.addError(.emailOAuth2TokenFile, "and EMAIL_HOST_PASSWORD are both set. Set only one of them.", kind: .conflictingSettings)
    }
    if username != nil, password == nil, tokenFile == nil {
      let message = "is required because EMAIL_HOST_USER is set. Set it, or EMAIL_OAUTH2_TOKEN_FILE."
      reader.addError(.emailHostPassword, message, kind: .conflictingSettings)
    }
    for (name, isSet) in [(SettingName.emailHostPassword, password != nil), (.emailOAuth2TokenFile, tokenFile != nil)] {
      guard username == nil, isSet else { continue }
      reader.addError(.emailHostUser, "is required because \(name.rawValue) is set.", kind: .conflictingSettings)
    }
    return tokenFile.map { .tokenFile($0) } ?? password.map { .password($0) }
  }
}
