import ConnectionGuards
import Foundation
import HTTPAPI
import Logging
import PasswordReset
import Text

/// The two listeners: addresses, certificate, and what HTTP clients may do.
struct HTTPSettings: SettingsGroup, Sendable {
  /// The address or name to listen on; `::` or `0.0.0.0` if the setting is `*`.
  let host: String
  let port: Int
  /// The listener for the operator: metrics and health.
  let adminHost: String
  let adminPort: Int
  /// The rate limits per client, for requests for an email and for uses of a link.
  let requestLimits: [RateLimit]
  let linkLimits: [RateLimit]
  let trustedProxies: TrustedProxies
  let allowedOrigins: AllowedOrigins
  /// The files with the certificate and its key, or `nil` for plain HTTP.
  let certificate: (file: String, key: String)?

  init(from reader: inout SettingsReader) {
    host = Self.host(.httpHost, port: .httpPort, from: &reader)
    port = Self.port(from: &reader)
    adminHost = Self.host(.adminHost, port: .adminPort, from: &reader)
    adminPort = reader.integer(.adminPort, in: 0...65535)
    if port == adminPort, port != 0, !reader.hasError(.httpPort), !reader.hasError(.adminPort) {
      reader.addError(.adminPort, "and HTTP_PORT are equal. Each listener needs its own port.", kind: .conflictingSettings)
    }
    trustedProxies =
      reader.optionalValue(
        .trustedProxies, message: "must be addresses or networks separated by commas, such as 10.0.0.0/8,::1.", TrustedProxies.init) ?? .none
    allowedOrigins = Self.allowedOrigins(from: &reader)
    requestLimits = reader.rateLimits(.rateLimitRequests)
    linkLimits = reader.rateLimits(.rateLimitLinks)
    certificate = Self.certificate(from: &reader)
  }

  /// The port of the public listener, which the default value of `RESET_URL` also contains.
  static func port(from reader: inout SettingsReader) -> Int { reader.integer(.httpPort, in: 0...65535) }

  private static func host(_ name: SettingName, port: SettingName, from reader: inout SettingsReader) -> String {
    reader.value(
      name, message: "must be an address such as 127.0.0.1 or ::1, a host name, or * for all addresses.",
      hint: "The port must be in \(port.rawValue)."
    ) { text in
      if text == "*" { return allAddresses }
      return HostName.isAddress(text) || HostName.isName(text) && text.utf8.allSatisfy({ $0 < 0x80 }) ? text : nil
    }
  }

  /// The address that stands for all addresses: of IPv6 and IPv4 unless the kernel has no IPv6.
  private static var allAddresses: String {
    let descriptor = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return "0.0.0.0" }
    close(descriptor)
    return "::"
  }

  private static func allowedOrigins(from reader: inout SettingsReader) -> AllowedOrigins {
    var origins =
      reader.optionalValue(
        .corsAllowedOrigins, message: "must be origins separated by commas, such as https://app.example.com,capacitor://localhost.",
        hint: "An origin has no path and no default port, and cannot be * or opaque.", AllowedOrigins.init) ?? .none
    let headers =
      reader.optionalValue(
        .corsAllowedHeaders, message: "must be names of headers separated by commas, such as x-app-version,x-tenant.", AllowedOrigins.headerNames)
      ?? []
    origins.allowHeaders(headers)
    origins.allowsCredentials = reader.boolean(.corsAllowCredentials)
    return origins
  }

  private static func certificate(from reader: inout SettingsReader) -> (file: String, key: String)? {
    switch (reader.optionalString(.httpSSLCertfile), reader.optionalString(.httpSSLKeyfile)) {
    case (let file?, let key?):
      return (file, key)
    case (nil, _?):
      let message = "is required because HTTP_SSL_KEYFILE is set: the certificate, followed by its intermediate certificates."
      reader.addError(.httpSSLCertfile, message, kind: .conflictingSettings)
    case (_?, nil):
      let message = "is required because HTTP_SSL_CERTFILE is set: the private key of the certificate."
      reader.addError(.httpSSLKeyfile, message, kind: .conflictingSettings)
    case (nil, nil):
      break
    }
    return nil
  }

  /// Loads the certificate and its key, or returns `nil` for plain HTTP.
  func loadCertificate(logger: Logger) throws(SettingsError) -> ReloadingCertificate? {
    guard let certificate else { return nil }
    do {
      return try ReloadingCertificate(certificateFile: certificate.file, keyFile: certificate.key, logger: logger)
    } catch {
      switch error {
      case .certificate:
        throw SettingsError(.unusableCertificate, .httpSSLCertfile, "must name a readable file with a certificate in PEM format.")
      case .key:
        throw SettingsError(.unusableCertificate, .httpSSLKeyfile, "must name a readable file with an unencrypted private key in PEM format.")
      case .mismatch:
        throw SettingsError(.unusableCertificate, .httpSSLKeyfile, "must be the key of the first certificate in HTTP_SSL_CERTFILE.")
      }
    }
  }

  /// Whether only this machine can reach a listener on `host`.
  static func isLoopback(_ host: String) -> Bool {
    host == "localhost" || host == "::1" || host.wholeMatch(of: /127(\.[0-9]{1,3}){3}/) != nil
  }
}

extension SettingsReader {
  mutating func rateLimits(_ name: SettingName) -> [RateLimit] {
    value(
      name, message: "must be rate limits separated by commas, such as 5/m,20/h, or off.", hint: "Each limit must have a different unit.",
      RateLimit.parse)
  }
}
