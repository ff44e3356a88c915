import ConnectionGuards
import Credentials
import Foundation
import HTTPAPI
import Hummingbird
import Logging
import Mail
import PasswordReset
import PasswordResetKit
import Prometheus
import ServiceLifecycle

/// Everything that the service is built from besides its settings. Tests replace parts of it.
struct ApplicationDependencies: Sendable {
  var now: @Sendable () -> Date = { Date() }
  /// Replaces the configured email backend.
  var mailBackend: (any MailBackend)?
  /// Replaces the client for the webhook's receiver.
  var webhookBackend: (any WebhookBackend)?
  /// Replaces the configured password hasher.
  var hasher: (any PasswordHasher)?
  var outboxPolicy = OutboxPolicy()
  var maxConnections = 1000
  /// Whether the service reads the email templates again on SIGHUP.
  var reloadsOnHangup = false
  var registry = Registry()
  /// Called with every SQL statement, without its values.
  var onStatement: (@Sendable (String) -> Void)?
  /// Called with the port when the public listener is ready.
  var onListening: @Sendable (Int) -> Void = { _ in }
  /// Called with the port when the admin listener is ready.
  var onAdminListening: @Sendable (Int) -> Void = { _ in }
}

/// Which work a process does. Several processes can share the work on one database.
enum ProcessRole: Sendable {
  /// Answers requests and sends the emails.
  case complete
  /// Answers requests. Other processes send the emails.
  case web
  /// Sends the emails.
  case worker

  /// How often a process that only sends emails looks for those of other processes, in seconds.
  fileprivate static let workerPollInterval: TimeInterval = 1
}

/// Builds the complete service from its settings: the kit, the listeners and what reloads. Tests call it as well.
/// - Parameter role: not `worker`, which answers no requests.
func buildApplication(
  _ settings: Settings, role: ProcessRole = .complete, dependencies: ApplicationDependencies = ApplicationDependencies(), logger: Logger
) throws -> some ApplicationProtocol {
  let certificate = try settings.http.loadCertificate(logger: logger)
  let parts = try ProcessParts(settings, role, dependencies, logger: logger)
  let connections = ConnectionCount(limit: dependencies.maxConnections)
  HTTPMetrics.measure(connections, in: dependencies.registry)
  return Application(
    responder: parts.kit.api(isReady: parts.isReady),
    server: .guarded(
      connections: connections, certificate: certificate, allowedOrigins: settings.http.allowedOrigins, metrics: parts.kit.metrics,
      logger: logger),
    configuration: .init(
      address: .hostname(settings.http.host, port: settings.http.port), backlog: ConnectionCount.backlog, reuseAddress: true,
      availableConnectionsDelegate: connections),
    services: (certificate.map { [$0] } ?? []) + parts.services,
    onServerRunning: { dependencies.onListening($0.localAddress?.port ?? settings.http.port) },
    logger: logger)
}

/// Builds the services of a process that only sends emails.
func buildWorker(_ settings: Settings, dependencies: ApplicationDependencies, logger: Logger) throws -> [any Service] {
  try ProcessParts(settings, .worker, dependencies, logger: logger).services
}

/// The parts that a process of any role needs.
private struct ProcessParts {
  let kit: PasswordResetKit
  let isReady: @Sendable () async -> Bool
  /// The services, in the order in which they start. They stop in the opposite order.
  let services: [any Service]

  init(_ settings: Settings, _ role: ProcessRole, _ dependencies: ApplicationDependencies, logger: Logger) throws {
    let backend = try role == .web ? nil : dependencies.mailBackend ?? settings.mail.makeBackend(now: dependencies.now())
    // Everything that can refuse the start comes first, so that a refused start does not migrate the database.
    let hashers = settings.passwords.hashers(preferring: dependencies.hasher)
    try unopenedDatabase(settings.database).tryPasswordChange(to: hashers.specimen)
    let store = try openDatabase(settings.database, onStatement: dependencies.onStatement) { reason in
      logger.error("The database cannot be used any more", metadata: ["reason": "\(reason)"])
    }
    try store.migrate()
    let registry = dependencies.registry
    let templates = CurrentTemplates(settings.templates)
    var configuration = settings.kit(composer: templates, dependencies, logger)
    if role == .worker { configuration.outbox.pollInterval = ProcessRole.workerPollInterval }
    kit = PasswordResetKit(configuration, store: store, backend: backend, logger: logger)
    let isReady: @Sendable () async -> Bool = { await store.isReady(logger) }
    store.measureOutbox(in: registry, now: dependencies.now)
    (store as? any DatabaseConnections).measureConnections(in: registry)
    registry.gauge("password_reset_database_up", "Whether the database responds and can be written to, as /health/ready reports.") {
      await isReady() ? 1 : 0
    }
    let admin = AdminListener(
      registry: registry, mailbox: settings.isDevelopment ? backend as? any Mailbox : nil, settings, dependencies, logger: logger, isReady: isReady)
    let reloader = dependencies.reloadsOnHangup && role != .web ? TemplateReloader(settings, current: templates, logger: logger) : nil
    let others: [(any Service)?] = [reloader, admin]
    self.isReady = isReady
    services = others.compactMap(\.self) + kit.services
  }
}

extension Settings {
  fileprivate func kit(
    composer: any EmailComposer, _ dependencies: ApplicationDependencies, _ logger: Logger
  ) -> PasswordResetKit.Configuration {
    var kit = PasswordResetKit.Configuration(
      secretKey: tokens.secretKey, resetURL: links.resetURL, languages: languages, composer: composer)
    kit.cancelURL = links.cancelURL
    kit.secretKeyFallbacks = tokens.secretKeyFallbacks
    kit.linkLifetime = links.timeout
    kit.timeZone = links.timeZone
    kit.notifiesOfChange = mail.notifiesOfChange
    kit.outbox = dependencies.outboxPolicy
    kit.outbox.setLimits(of: mail)
    kit.webhookEvents = webhook.events
    kit.webhookBackend =
      dependencies.webhookBackend ?? webhook.makeClient(connections: OutboxPolicy.webhookConnections, now: dependencies.now)
    kit.passwords = passwords.policy(hasher: dependencies.hasher, registry: dependencies.registry, logger: logger)
    kit.hashingSlots = passwords.concurrency
    kit.auditLifetime = TimeInterval(auditDays) * 86400
    kit.requestLimits = http.requestLimits
    kit.linkLimits = http.linkLimits
    kit.trustedProxies = http.trustedProxies
    kit.allowedOrigins = http.allowedOrigins
    kit.registry = dependencies.registry
    kit.now = dependencies.now
    return kit
  }
}

extension OutboxPolicy {
  fileprivate mutating func setLimits(of mail: MailSettings) {
    emailLimits = mail.addressLimits
    totalEmailLimits = mail.totalLimits
    connections = mail.connections
    rate = mail.rate
    accountsPerRequest = mail.accountsPerRequest
    deadLetterLifetime = TimeInterval(mail.deadLetterDays) * 86400
  }
}

extension OutboxAdmin {
  fileprivate func measureOutbox(in registry: Registry, now: @escaping @Sendable () -> Date) {
    registry.gauge(
      "password_reset_outbox_jobs", "Jobs that wait, and dead letters that are still kept.", labels: ["state"]
    ) {
      // No sample if the database cannot be read.
      guard let counts = try? await outboxCounts() else { return [] }
      return [(["waiting"], Double(counts.waiting)), (["dead"], Double(counts.dead))]
    }
    registry.gauge("password_reset_outbox_oldest_age_seconds", "How long the oldest waiting request or email has waited, or 0 if none is waiting.") {
      // No sample here either.
      guard let counts = try? await outboxCounts() else { return nil }
      return counts.oldest.map { max(0, now().timeIntervalSince($0)) } ?? 0
    }
  }
}

extension Optional<any DatabaseConnections> {
  /// Adds the metrics of the connections, which have no samples on SQLite.
  fileprivate func measureConnections(in registry: Registry) {
    let connections = { @Sendable in self?.connections() ?? [] }
    registry.gauge("password_reset_database_connections", "Open connections to PostgreSQL.", labels: ["purpose"]) {
      connections().map { ([$0.purpose], Double($0.open)) }
    }
    registry.gauge("password_reset_database_waiting", "Requests that wait for a connection to PostgreSQL.", labels: ["purpose"]) {
      connections().map { ([$0.purpose], Double($0.waiting)) }
    }
    registry.gauge(
      "password_reset_database_reconnects_total", "Lost connections to PostgreSQL that were replaced.", labels: ["purpose"], kind: .counter
    ) { connections().map { ([$0.purpose], Double($0.reconnects)) } }
  }
}

extension StoreSchema {
  fileprivate func isReady(_ logger: Logger) async -> Bool {
    do {
      try await checkReadiness()
      return true
    } catch {
      logger.warning("The service is not ready", metadata: ["reason": "\(error)"])
      return false
    }
  }
}
