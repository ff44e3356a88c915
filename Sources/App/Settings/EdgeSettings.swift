import ConnectionGuards
import HTTPAPI
import Logging
import PasswordReset

/// What the listener asks of those who call it, and how much they may have.
struct EdgeSettings: Sendable {
  /// Requests for an email, and uses of a link, per client.
  var requestLimits: [RateLimit]
  var linkLimits: [RateLimit]
  var trustedProxies: TrustedProxies
  var allowedOrigins: AllowedOrigins
  /// Reset mails to one address.
  var mailLimits: [RateLimit]
  /// All mails together.
  var totalMailLimits: [RateLimit]
  /// The certificate and its key; nil for plain HTTP.
  private(set) var certificate: (file: String, key: String)?

  init(_ reader: inout SettingsReader) {
    func limits(_ name: SettingName) -> [RateLimit] {
      reader.parsed(name, remedy: "must be limits such as 5/m,20/h, each of another unit, or off", RateLimit.parse)
    }
    requestLimits = limits(.rateLimitRequests)
    linkLimits = limits(.rateLimitLinks)
    mailLimits = limits(.rateLimitMails)
    totalMailLimits = limits(.rateLimitMailsTotal)
    trustedProxies =
      reader.optional(
        .trustedProxies, remedy: "must be addresses or networks separated by commas, such as 10.0.0.0/8,::1", TrustedProxies.init) ?? .none
    allowedOrigins =
      reader.optional(
        .corsAllowedOrigins,
        remedy: "must be origins separated by commas, such as https://app.example.com,http://localhost:3000: no path, no default port, no *",
        AllowedOrigins.init) ?? .none
    let (file, key) = (reader.text(.httpSSLCertfile), reader.text(.httpSSLKeyfile))
    if file == nil, key != nil {
      reader.fault(.httpSSLCertfile, "is required by HTTP_SSL_KEYFILE: the certificate, and what is between it and its root", .conflictingSettings)
    }
    if file != nil, key == nil {
      reader.fault(.httpSSLKeyfile, "is required by HTTP_SSL_CERTFILE: the private key of the certificate", .conflictingSettings)
    }
    if let file, let key { certificate = (file, key) }
  }

  /// Reads the certificate, if there is to be one.
  func loadCertificate(logger: Logger) throws(SettingsError) -> ReloadingCertificate? {
    guard let certificate else { return nil }
    do {
      return try ReloadingCertificate(certificateFile: certificate.file, keyFile: certificate.key, logger: logger)
    } catch {
      switch error {
      case .certificate: throw SettingsError(.httpSSLCertfile, "must name a file that can be read, with a certificate in PEM", .unusableCertificate)
      case .key:
        throw SettingsError(
          .httpSSLKeyfile, "must name a file that can be read, with a private key in PEM that is not encrypted", .unusableCertificate)
      case .mismatch: throw SettingsError(.httpSSLKeyfile, "must be the key of the first certificate in HTTP_SSL_CERTFILE", .unusableCertificate)
      }
    }
  }
}
