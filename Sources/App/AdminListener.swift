import ConnectionGuards
import HTTPAPI
import Hummingbird
import Logging
import NIOCore
import PasswordReset
import Prometheus
import ServiceLifecycle

/// The second listener, with health, metrics and the mailbox, for the operator's machines only.
final class AdminListener: Service {
  /// Enough for a few metrics collectors and health checks.
  private static let connections = 64

  private let host: String
  private let port: Int
  private let application: any ApplicationProtocol

  init(
    registry: Registry, mailbox: (any Mailbox)?, _ settings: Settings, _ dependencies: ApplicationDependencies, logger: Logger,
    isReady: @escaping @Sendable () async -> Bool
  ) {
    host = settings.http.adminHost
    port = settings.http.adminPort
    let names = ["localhost", "127.0.0.1", "[::1]", Self.name(of: host).lowercased()]
    var logger = logger
    logger[metadataKey: "listener"] = "admin"
    let api = AdminAPI(
      registry: registry, mailbox: mailbox, allowedHosts: Self.isLoopback(host) ? Array(Set(names)).sorted() : nil, isReady: isReady)
    let connections = ConnectionCount(limit: Self.connections)
    application = Application(
      responder: api, server: .guarded(connections: connections, logger: logger),
      configuration: .init(
        address: .hostname(host, port: port), serverName: nil, backlog: ConnectionCount.backlog, reuseAddress: true,
        availableConnectionsDelegate: connections),
      onServerRunning: { [port] in dependencies.onAdminListening($0.localAddress?.port ?? port) }, logger: logger)
  }

  func run() async throws {
    try await CommandError.ofListening(host: host, port: port, names: "ADMIN_HOST or ADMIN_PORT") { try await application.run() }
  }

  /// Whether `host` can be reached from this machine only: a loopback address, or a name that resolves to one.
  private static func isLoopback(_ host: String) -> Bool {
    // Listening on an unknown host fails, and that error explains it better.
    guard let address = (try? SocketAddress.makeAddressResolvingHost(host, port: 0))?.ipAddress else { return true }
    return address == "::1" || address.hasPrefix("127.") || address.hasPrefix("::ffff:127.")
  }

  /// The host as a URL contains it.
  private static func name(of host: String) -> String { host.contains(":") ? "[\(host)]" : host }

  static func welcome(_ settings: Settings, port: Int) -> String {
    let mailbox = "http://\(name(of: settings.http.adminHost)):\(port)/mailbox"
    return """

      Emails can be read over HTTP:

        curl '\(mailbox)/newest?wait=5'        # ?to=demo@example.com selects one recipient
        curl '\(mailbox)'
        curl -X DELETE '\(mailbox)'

      """
  }
}
