public import Foundation
import PasswordReset

/// The settings of the connection to the SMTP server, which are Django's `EMAIL_*` settings.
public struct SMTPSettings: Sendable, Equatable {
  /// The protection of the connection.
  public enum Security: Sendable, Equatable {
    /// The connection is not encrypted, for a relay on the same machine.
    case none
    /// The connection uses STARTTLS (`EMAIL_USE_TLS`), and no email is sent if the server does not offer it.
    case startTLS
    /// The connection uses TLS from the first byte (`EMAIL_USE_SSL`).
    case implicitTLS
  }

  /// The secret that belongs to a user name.
  public enum Credential: Sendable, Equatable {
    /// The password (`EMAIL_HOST_PASSWORD`), for PLAIN, LOGIN or CRAM-MD5.
    case password(String)
    /// The file with an access token for XOAUTH2 (`EMAIL_OAUTH2_TOKEN_FILE`). It is read for each email, because tokens
    /// expire after an hour.
    case tokenFile(String)
  }

  /// The name or address of the server.
  public var host: String
  /// The port of the server.
  public var port: Int
  /// The protection of the connection.
  public var security: Security
  /// The user name, or `nil` if the server asks for none.
  public var username: String?
  /// The secret that belongs to the user name, or `nil` without a user name.
  public var credential: Credential?
  /// The name in EHLO (`EMAIL_HELO_NAME`), or `nil` for this host's name or the domain of the sender.
  public var clientName: String?
  /// The time limit for connecting and sending one email, in seconds. After a failure libcurl sends QUIT, which may
  /// take as long again.
  public var timeout = 30
  /// The file with a client certificate in PEM form (`EMAIL_SSL_CERTFILE`).
  public var certificateFile: String?
  /// The file with the key of the client certificate (`EMAIL_SSL_KEYFILE`).
  public var keyFile: String?
  /// The file with certificate authorities in PEM form that replace those of the system.
  public var authoritiesFile: String?

  /// Creates settings for a server that asks for no sign-in.
  public init(host: String, port: Int, security: Security) {
    self.host = host
    self.port = port
    self.security = security
  }
}

extension SMTPSettings {
  /// Returns the current access token, or `nil` if none is configured.
  func token() throws(MailError) -> String? {
    guard case .tokenFile(let path) = credential else { return nil }
    guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8),
      case let token = text.trimmingCharacters(in: .whitespacesAndNewlines), !token.isEmpty
    else { throw .unavailable(reason: "EMAIL_OAUTH2_TOKEN_FILE must name a readable file that contains a token") }
    guard Self.isBearerToken(token) else {
      throw .unavailable(reason: "EMAIL_OAUTH2_TOKEN_FILE must contain the access token alone, such as the value of access_token in a JSON response")
    }
    return token
  }

  /// Returns whether the file of `EMAIL_OAUTH2_TOKEN_FILE` contains something that cannot be a token. A file without content is no
  /// such file: the program that writes it may not have run yet.
  public static func isOtherThanToken(_ content: Data) -> Bool {
    guard let text = String(data: content, encoding: .utf8) else { return true }
    let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
    return !token.isEmpty && !isBearerToken(token)
  }

  /// Returns whether `text` has the form of RFC 6750 section 2.1.
  private static func isBearerToken(_ text: String) -> Bool { text.wholeMatch(of: /[A-Za-z0-9._~+\/-]+=*/) != nil }
}
