import Concurrency
import ConnectionGuards
import Credentials
import Foundation
import HTTPAPI
import Hummingbird
import Logging
import Mail
import PasswordReset
import Prometheus
import ServiceLifecycle

/// Everything that the service is built from besides its settings. Tests replace parts of it.
struct ApplicationDependencies: Sendable {
  var now: @Sendable () -> Date = { Date() }
  /// Replaces the configured email backend.
  var mailBackend: (any MailBackend)?
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

/// Builds the complete service from its settings. Only this function connects the parts, and tests call it as well.
func buildApplication(_ settings: Settings, dependencies: ApplicationDependencies = ApplicationDependencies(), logger: Logger) throws
  -> some ApplicationProtocol
{
  let backend = try dependencies.mailBackend ?? settings.mail.makeBackend(now: dependencies.now())
  let certificate = try settings.http.loadCertificate(logger: logger)
  // Everything that can refuse the start comes first, so that a refused start does not migrate the database.
  let store = try openDatabase(path: settings.database.path, onStatement: dependencies.onStatement) { reason in
    logger.error("The database cannot be used any more", metadata: ["reason": "\(reason)"])
  }
  try store.migrate()
  let context = ResetContext(
    users: store, outbox: store, tokenGenerator: settings.tokens.generator(for: settings.links),
    identifierHasher: IdentifierHasher(secretKey: settings.tokens.secretKey), now: dependencies.now)
  let registry = dependencies.registry
  let templates = CurrentTemplates(settings.templates)
  let auditTrail = AuditTrail(
    store: store, lifetime: TimeInterval(settings.auditDays) * 86400, registry: registry, logger: logger, now: dependencies.now)

  var policy = dependencies.outboxPolicy
  policy.setLimits(of: settings.mail)
  let leases = LeaseKeeper(outbox: store, duration: policy.lease, now: dependencies.now)
  let sender = MailSender(backend, policy: policy, registry: registry, now: dependencies.now)
  let links = ResetLinkFactory(
    tokenGenerator: context.tokenGenerator, resetURL: settings.links.resetURL, lifetime: settings.links.timeout)
  let handler = ResetMailHandler(
    context: context, links: links, composer: templates, sender: sender, leases: leases, policy: policy)
  let worker = OutboxWorker(
    outbox: store, leases: leases, handler: handler, sender: sender, policy: policy, logger: logger, now: dependencies.now)

  let slots = settings.passwords.concurrency
  let service = PasswordResetService(
    context: context, auditTrail: auditTrail, passwords: settings.passwords.policy(hasher: dependencies.hasher),
    hashing: HashingPool(slots: slots, queueLimit: 32 * slots, registry: registry), leases: leases, sendsNotice: settings.mail.notifiesOfChange)
  let metrics = HTTPMetrics(registry)
  let isReady: @Sendable () async -> Bool = { await store.isReady(logger) }
  let rateLimiter = RequestRateLimiter(
    requests: settings.http.requestLimits, links: settings.http.linkLimits, trustedProxies: settings.http.trustedProxies, metrics: metrics,
    now: dependencies.now)
  let api = API(
    service: service, languages: settings.languages, rateLimiter: rateLimiter, allowedOrigins: settings.http.allowedOrigins, metrics: metrics,
    isReady: isReady)
  let connections = ConnectionCount(limit: dependencies.maxConnections)
  HTTPMetrics.measure(connections, in: registry)
  store.measureOutbox(in: registry, now: dependencies.now)
  registry.gauge("password_reset_database_up", "Whether the database responds and can be written to, as /health/ready reports.") {
    await isReady() ? 1 : 0
  }
  let admin = AdminListener(
    registry: registry, mailbox: settings.isDevelopment ? backend as? any Mailbox : nil, settings, dependencies, logger: logger, isReady: isReady)
  let reloader = dependencies.reloadsOnHangup ? TemplateReloader(settings, current: templates, logger: logger) : nil
  // They stop in the opposite order, after the listener.
  let others: [(any Service)?] = [certificate, reloader, auditTrail, admin, worker]
  return Application(
    responder: api, server: .guarded(connections: connections, certificate: certificate, metrics: metrics, logger: logger),
    configuration: .init(
      address: .hostname(settings.http.host, port: settings.http.port), backlog: ConnectionCount.backlog, reuseAddress: true,
      availableConnectionsDelegate: connections),
    services: others.compactMap(\.self),
    onServerRunning: { dependencies.onListening($0.localAddress?.port ?? settings.http.port) },
    logger: logger)
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
    registry.gauge("password_reset_outbox_oldest_age_seconds", "How long the oldest waiting job has waited, or 0 if none is waiting.") {
      // No sample here either.
      guard let counts = try? await outboxCounts() else { return nil }
      return counts.oldest.map { max(0, now().timeIntervalSince($0)) } ?? 0
    }
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
