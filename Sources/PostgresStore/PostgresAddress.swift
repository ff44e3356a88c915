import CLibPQ
import Foundation

/// Where a PostgreSQL database is: a URL as libpq reads it, with several hosts and all parameters.
public struct PostgresAddress: Sendable, CustomStringConvertible {
  /// How many seconds a connection attempt waits for each host, unless the URL has a `connect_timeout`.
  private static let timeoutPerHost = 3

  private let url: String
  private let password: String?

  /// Creates an address.
  /// - Parameter password: overrides the password in the URL and all other sources that libpq knows.
  public init(url: String, password: String? = nil) {
    self.url = url
    self.password = password
  }

  /// Contains neither the URL nor the password, so that printing a value that holds an address shows no secret.
  public var description: String { "PostgresAddress" }

  /// Returns why libpq cannot read the URL, without its values, or `nil` if it can.
  public var fault: String? {
    var message: UnsafeMutablePointer<CChar>?
    if let options = PQconninfoParse(url, &message) {
      PQconninfoFree(options)
      // Both happen if a character in the password is not encoded. A later message would show a part of the password.
      if parameter("host")?.contains("@") == true { return "the host contains an @, which must be %40 in a user name or password" }
      let isPort = parameter("port").map { $0.allSatisfy { $0.isASCII && ($0.isNumber || $0 == ",") } } ?? true
      return isPort ? nil : "the port is not a number; a / must be %2F in a user name or password"
    }
    defer { PQfreemem(message) }
    return Self.withoutValues(message.map { String(cString: $0) } ?? "out of memory")
  }

  /// The parameters for `PQconnectStartParams`. Those before `dbname` are defaults, which the URL overrides; those after it
  /// override the URL.
  var parameters: [(name: String, value: String)] {
    [
      ("connect_timeout", "\(Self.timeoutPerHost)"), ("keepalives_idle", "30"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
      // This also ends an attempt to reach a host that does not answer, so that the next host gets its turn.
      ("tcp_user_timeout", "\(Self.timeoutPerHost * 1000)"), ("application_name", "password-reset"),
      // Of several hosts, only one accepts writes.
      ("target_session_attrs", hasSeveralHosts ? "read-write" : "any"), ("dbname", url),
      ("client_encoding", "UTF8"),
    ] + (password.map { [("password", $0)] } ?? [])
  }

  /// Returns a message of libpq without the password.
  func redacted(_ message: String) -> String {
    var message = message.replacing(url, with: "DATABASE_URL")
    for secret in [password, parameter("password")].compactMap(\.self) where !secret.isEmpty {
      message = message.replacing(secret, with: "********")
    }
    return message
  }

  private var hasSeveralHosts: Bool { ["host", "hostaddr"].contains { parameter($0)?.contains(",") == true } }

  /// Returns the value that the URL has for one of libpq's parameters.
  private func parameter(_ name: String) -> String? {
    guard let options = PQconninfoParse(url, nil) else { return nil }
    defer { PQconninfoFree(options) }
    var option = options
    while let keyword = option.pointee.keyword {
      if String(cString: keyword) == name { return option.pointee.val.map { String(cString: $0) } }
      option += 1
    }
    return nil
  }

  /// Returns a message up to what libpq quotes, because that may be a part of the password.
  private static func withoutValues(_ message: String) -> String {
    String(message.prefix { $0 != "\"" && $0 != "\n" }.prefix { $0 != ":" }).trimmingCharacters(in: .whitespaces)
  }
}
