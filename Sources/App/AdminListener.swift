import HTTPAPI
import Hummingbird
import Logging
import PasswordReset
import ServiceLifecycle

/// The listener that only this machine may ask, beside the public one.
struct AdminListener: Service {
  private let host: String
  private let port: Int
  private let application: any ApplicationProtocol

  init(_ mailbox: any Mailbox, _ settings: Settings, _ world: World, logger: Logger) {
    host = settings.adminHost
    port = settings.adminPort
    let names = ["localhost", "127.0.0.1", "[::1]", Self.name(of: host).lowercased()]
    application = Application(
      router: AdminAPI(mailbox: mailbox, names: names).router(),
      configuration: .init(address: .hostname(host, port: port), serverName: nil, reuseAddress: true),
      onServerRunning: { [port] in world.onAdminListening($0.localAddress?.port ?? port) }, logger: logger)
  }

  func run() async throws {
    try await Failure.ofListening(host: host, port: port, names: "ADMIN_HOST or ADMIN_PORT") { try await application.run() }
  }

  /// As it stands in a URL.
  private static func name(of host: String) -> String { host.contains(":") ? "[\(host)]" : host }

  static func welcome(_ settings: Settings, port: Int) -> String {
    let mailbox = "http://\(name(of: settings.adminHost)):\(port)/mailbox"
    return """

      Mails can be read over HTTP, by tests and by hand:

        curl '\(mailbox)/newest?wait=5'        # ?to=demo@example.com for one address
        curl '\(mailbox)'
        curl -X DELETE '\(mailbox)'

      """
  }
}
