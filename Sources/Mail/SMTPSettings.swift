import Foundation
import PasswordReset

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
    host: String, port: Int, security: Security, username: String? = nil, credential: Credential? = nil, timeout: Int = 30,
    certificateFile: String? = nil,
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
  func token() throws(MailError) -> String? {
    guard case .tokenFile(let path) = credential else { return nil }
    guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8),
      case let token = text.trimmingCharacters(in: .whitespacesAndNewlines), !token.isEmpty
    else { throw .unavailable(reason: "EMAIL_OAUTH2_TOKEN_FILE names a file without a token, or one that cannot be read") }
    return token
  }
}
