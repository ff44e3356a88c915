import Foundation
import PasswordReset

/// Why there is no connection, and what the operator can do.
struct ConnectionFault {
  var kind: StoreOpenError.Kind
  var message: String
  var remedy: String?

  /// Reads a message of libpq, which has one or more lines per host. The SQLSTATE, if there is one, is that of the last host.
  init(_ text: String) {
    let lines = text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !Self.isDetail($0) }
    message = Set(lines).count == lines.count ? lines.joined(separator: "; ") : (lines.last ?? text)
    let state = text.matches(of: #/: +((?=[A-Z]*[0-9])[0-9A-Z]{5}): /#).last.map { String($0.1) }
    message = message.replacing(#/: +(?=[A-Z]*[0-9])[0-9A-Z]{5}: /#) { _ in ": " }
    (kind, remedy) = state.map { Self.reading(state: $0, text) } ?? Self.reading(message: text)
  }

  private static func isDetail(_ line: String) -> Bool {
    ["LOCATION:", "DETAIL:", "Is the server running", "This probably means", "before or while processing"].contains { line.hasPrefix($0) }
      || line.isEmpty
  }

  private static func reading(state: String, _ message: String) -> (StoreOpenError.Kind, String?) {
    switch state {
    case "28P01": (.unusable, "Check the user, and the password in DATABASE_PASSWORD, DATABASE_PASSWORD_FILE or ~/.pgpass")
    case "28000": (.unusable, authorizationRemedy(message))
    case "3D000": (.unusable, "Create the database, or correct its name in DATABASE_URL")
    case "42501": (.unusable, "Grant the role CONNECT on the database")
    case "57P03": (.unreachable, "The server is starting or stopping. Try again")
    // PgBouncer reports everything with this code.
    case "08P01": reading(message: message)
    case "53300": (.unreachable, "The server has no connection left. Raise its max_connections, or the role's CONNECTION LIMIT")
    // Resources, an operator's intervention, the system or the connection: it may pass.
    default: (["08", "53", "57", "58", "XX"].contains(state.prefix(2)) ? .unreachable : .unusable, nil)
    }
  }

  /// These errors have the same code. A server with another language gets the general remedy.
  private static func authorizationRemedy(_ message: String) -> String {
    let known = [
      ("valid client certificate", "Set sslcert and sslkey in DATABASE_URL to a certificate of the role"),
      ("certificate authentication failed", "Set sslcert and sslkey in DATABASE_URL to a certificate of the role"),
      ("is not permitted to log in", "Run ALTER ROLE … LOGIN, or name another role"),
      ("no encryption", "Check the user, and the server's pg_hba.conf; it may ask for TLS, so try sslmode=verify-full"),
    ]
    return known.first { message.contains($0.0) }?.1 ?? "Check the user, and the server's pg_hba.conf"
  }

  /// libpq's own messages have no code. They are never translated, because this process sets no locale.
  private static func reading(message: String) -> (StoreOpenError.Kind, String?) {
    let known: [(text: String, kind: StoreOpenError.Kind, remedy: String)] = [
      ("could not translate host name", .unreachable, "Check the host in DATABASE_URL"),
      ("Connection refused", .unreachable, "Check that the server runs there, and listen_addresses and the port"),
      ("No such file or directory", .unreachable, "Check that the server runs, and its unix_socket_directories"),
      ("timeout expired", .unreachable, "Check the host, the port, and firewalls"),
      ("timed out", .unreachable, "Check the host, the port, and firewalls"),
      ("No route to host", .unreachable, "Check the host, and firewalls"),
      ("no password supplied", .unusable, "Set DATABASE_PASSWORD or DATABASE_PASSWORD_FILE, or write ~/.pgpass"),
      ("does not support SSL", .unusable, "Turn on ssl in the server, or change sslmode"),
      ("root certificate file", .unusable, "Set sslrootcert in DATABASE_URL"),
      ("private key file", .unusable, "Set sslkey in DATABASE_URL to the key of the certificate, which only its owner may read"),
      ("could not read certificate file", .unusable, "Set sslcert in DATABASE_URL to a certificate in PEM form"),
      ("received invalid response", .unusable, "Check the host and the port: another kind of server answers there"),
      ("expected authentication request", .unusable, "Check the host and the port: another kind of server answers there"),
      ("certificate verify failed", .unusable, "Set sslrootcert to the certificate authority of the server"),
      ("does not match host name", .unusable, "Use the name in the server's certificate as the host"),
      ("definition of service", .unusable, "Check the service file, or PGSERVICEFILE"),
      ("unsupported startup parameter", .unusable, "PgBouncer refuses it. Remove it from DATABASE_URL, or connect to PostgreSQL directly"),
      ("no such database", .unusable, "Add the database to PgBouncer's configuration, or correct its name in DATABASE_URL"),
      ("no such user", .unusable, "Add the role to PgBouncer's auth_file"),
      ("SASL authentication failed", .unusable, "Check the user and the password, in DATABASE_PASSWORD and in PgBouncer's auth_file"),
      ("invalid ", .unusable, "Correct DATABASE_URL"),
      ("session is read-only", .unreachable, "No host accepts writes at the moment; target_session_attrs asks for one that does"),
    ]
    return known.first { message.contains($0.text) }.map { ($0.kind, $0.remedy) } ?? (.unreachable, nil)
  }
}
