import Concurrency
import ConnectionGuards
import Credentials
import Foundation
import HTTPAPI
import Hummingbird
import Localization
import Logging
import Mail
import PasswordReset
import Prometheus
import SQLiteStore

/// The service with a ``DelayedStore`` and a paused worker.
///
/// The comparison measures `password-reset serve`, the released program, which has no setting that makes it slower. The control shows that two
/// microseconds in the store are visible in the verdict, and a server of the same parts is enough for that.
enum ControlServer {
  /// Returns the arguments that make this program run the control server.
  static func arguments(database: String, comparison: Int) -> [String] { ["--server", database, "\(comparison)"] }

  /// Runs the server until the process ends.
  /// - Parameter arguments: the result of ``arguments(database:comparison:)`` without the first.
  static func run(_ arguments: [String], secretKey: String) async throws {
    guard arguments.count == 2, let index = Int(arguments[1]), Comparison.all.indices.contains(index) else {
      throw TimingError(description: "the control server needs a database and the index of a comparison")
    }
    let store = try SQLiteStore(path: arguments[0])
    try store.migrate()
    try await application(DelayedStore(store: store, delayedClass: Comparison.all[index].second), secretKey: secretKey).runService()
  }

  private static func application(_ store: DelayedStore, secretKey: String) throws -> some ApplicationProtocol {
    let languages = try Languages()
    let templates = try MailTemplates(languages: languages, siteName: "localhost", sender: "webmaster@localhost")
    let context = ResetContext(
      users: store, outbox: store, tokenGenerator: PasswordResetTokenGenerator(secretKey: secretKey, timeout: 3600),
      identifierHasher: IdentifierHasher(secretKey: secretKey), now: { Date() })
    let logger = Logger(label: "control") { StreamLogHandler.standardError(label: $0) }
    let perHour = RateLimit(count: 1, seconds: 3600)
    var policy = OutboxPolicy()
    policy.emailLimits = [perHour]
    policy.rate = perHour
    let registry = Registry()
    let auditTrail = AuditTrail(store: store.store, lifetime: 86400, registry: registry, logger: logger, now: { Date() })
    let leases = LeaseKeeper(outbox: store, duration: policy.lease, now: { Date() })
    let sender = MailSender(DummyBackend(), policy: policy, registry: registry, now: { Date() })
    let links = ResetLinkFactory(tokenGenerator: context.tokenGenerator, resetURL: .ofService(port: 8080), lifetime: 3600)
    let handler = ResetMailHandler(context: context, links: links, composer: templates, sender: sender, leases: leases, policy: policy)
    let worker = OutboxWorker(
      outbox: store, leases: leases, handler: handler, sender: sender, policy: policy, logger: logger, now: { Date() })
    let service = PasswordResetService(
      context: context, auditTrail: auditTrail, passwords: PasswordPolicy(hashers: PasswordHashers(), validators: defaultPasswordValidators()),
      hashing: HashingPool(slots: 1, queueLimit: 1, registry: registry), leases: leases, sendsNotice: true)
    let metrics = HTTPMetrics(registry)
    let connections = ConnectionCount(limit: 1000)
    return Application(
      responder: API(service: service, languages: languages, metrics: metrics, isReady: { true }),
      server: .guarded(connections: connections, metrics: metrics, logger: logger),
      configuration: .init(
        address: .hostname("127.0.0.1", port: 0), backlog: ConnectionCount.backlog, reuseAddress: true, availableConnectionsDelegate: connections),
      services: [worker, auditTrail], logger: logger)
  }
}
