import HTTPAPI
import Logging
import PasswordReset

/// What the listener asks of those who call it, and how much they may have.
struct EdgeSettings: Sendable {
  var policy: EdgePolicy
  /// Reset mails to one address.
  var mailLimits: [RateLimit]
  /// All mails together.
  var totalMailLimits: [RateLimit]
  /// The certificate and its key; nil for plain HTTP.
  private var certificate: (file: String, key: String)?

  init(_ reader: inout SettingsReader, dev: Bool) {
    func limits(_ name: SettingName, default fallback: [RateLimit]) -> [RateLimit] {
      reader.parsed(
        name, default: dev ? [] : fallback, remedy: "must be limits such as 5/m,20/h, each of another unit, or off", RateLimit.parse)
    }
    let minute = 60
    policy = EdgePolicy(
      requestLimits: limits(.rateLimitRequests, default: [RateLimit(count: 20, seconds: minute)]),
      linkLimits: limits(.rateLimitLinks, default: [RateLimit(count: 60, seconds: minute)]))
    mailLimits = limits(.rateLimitMails, default: [RateLimit(count: 1, seconds: minute), RateLimit(count: 5, seconds: 60 * minute)])
    totalMailLimits = limits(.rateLimitMailsTotal, default: [])
    policy.trustedProxies = reader.parsed(
      .trustedProxies, default: .none, remedy: "must be addresses or networks separated by commas, such as 10.0.0.0/8,::1", TrustedProxies.init)
    policy.allowedOrigins = reader.parsed(
      .corsAllowedOrigins, default: .none,
      remedy: "must be origins separated by commas, such as https://app.example.com,http://localhost:3000: no path, no default port, no *",
      AllowedOrigins.init)
    let (file, key) = (reader.text(.httpSSLCertfile), reader.text(.httpSSLKeyfile))
    if file == nil, key != nil {
      reader.fault(.httpSSLCertfile, "is required by HTTP_SSL_KEYFILE: the certificate, and what is between it and its root")
    }
    if file != nil, key == nil { reader.fault(.httpSSLKeyfile, "is required by HTTP_SSL_CERTFILE: the private key of the certificate") }
    if let file, let key { certificate = (file, key) }
  }

  /// Reads the certificate, if there is to be one.
  func loadCertificate(logger: Logger) throws(SettingsError) -> ServerCertificate? {
    guard let certificate else { return nil }
    do {
      return try ServerCertificate(certificateFile: certificate.file, keyFile: certificate.key, logger: logger)
    } catch {
      switch error {
      case .certificate: throw .fault(.httpSSLCertfile, "must name a file that can be read, with a certificate in PEM")
      case .key: throw .fault(.httpSSLKeyfile, "must name a file that can be read, with a private key in PEM that is not encrypted")
      case .mismatch: throw .fault(.httpSSLKeyfile, "must be the key of the first certificate in HTTP_SSL_CERTFILE")
      }
    }
  }
}

extension SettingsError {
  fileprivate static func fault(_ name: SettingName, _ remedy: String) -> SettingsError {
    SettingsError(faults: ["\(name.rawValue) \(remedy)"])
  }
}
