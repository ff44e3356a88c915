import ConnectionGuards
import HTTPAPI
import Hummingbird
import Logging
import Mail
import PasswordReset
import PasswordResetKit

/// The service with a ``DelayedStore`` and a paused worker.
///
/// The comparison measures `password-reset serve`, the released program, which has no setting that makes it slower. The control shows that two
/// microseconds in the store are visible in the verdict, and a server of the same parts is enough for that.
enum ControlServer {
  /// Returns the arguments that make this program run the control server.
  static func arguments(_ database: TestDatabase, comparison: Int) -> [String] { ["--server", database.url, "\(comparison)"] }

  /// Runs the server until the process ends.
  /// - Parameter arguments: the result of ``arguments(_:comparison:)`` without the first.
  static func run(_ arguments: [String], secretKey: String) async throws {
    guard arguments.count == 2, let index = Int(arguments[1]), Comparison.all.indices.contains(index) else {
      throw TimingError(description: "the control server needs a database and the index of a comparison")
    }
    let store = try TestDatabase.open(arguments[0])
    try await application(DelayedStore(store: store, delayedClass: Comparison.all[index].second), secretKey: secretKey).runService()
  }

  private static func application(_ store: DelayedStore, secretKey: String) throws -> some ApplicationProtocol {
    let logger = Logger(label: "control") { StreamLogHandler.standardError(label: $0) }
    let perHour = RateLimit(count: 1, seconds: 3600)
    var configuration = try PasswordResetKit.Configuration(
      secretKey: secretKey, resetURL: .ofService(port: 8080), siteName: "localhost", sender: "webmaster@localhost")
    configuration.outbox.emailLimits = [perHour]
    configuration.outbox.rate = perHour
    configuration.requestLimits = []
    configuration.linkLimits = []
    let kit = PasswordResetKit(configuration, store: store, backend: DummyBackend(), logger: logger)
    let connections = ConnectionCount(limit: 1000)
    return Application(
      responder: kit.api(isReady: nil), server: .guarded(connections: connections, metrics: kit.metrics, logger: logger),
      configuration: .init(
        address: .hostname("127.0.0.1", port: 0), backlog: ConnectionCount.backlog, reuseAddress: true, availableConnectionsDelegate: connections),
      services: kit.services, logger: logger)
  }
}
