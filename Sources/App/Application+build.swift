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
import SQLiteStore
import ServiceLifecycle

/// What the service takes from outside: tests put their own in its place.
struct ApplicationDependencies: Sendable {
  var now: @Sendable () -> Date = { Date() }
  /// In the place of the configured mail backend.
  var mailBackend: (any MailBackend)?
  /// In the place of the configured hasher.
  var hasher: (any PasswordHasher)?
  var outboxPolicy = OutboxPolicy()
  var maxConnections = 1000
  /// Whether SIGHUP has the templates read anew.
  var reloadsOnHangup = false
  var registry = Registry()
  /// Sees every SQL statement, without its values.
  var onStatement: (@Sendable (String) -> Void)?
  /// Called with the port when the server listens, and the listener for this machine alone.
  var onListening: @Sendable (Int) -> Void = { _ in }
  var onAdminListening: @Sendable (Int) -> Void = { _ in }
}

/// Builds the whole service from its settings. The one place where the parts meet; tests call it too.
func buildApplication(_ settings: Settings, dependencies: ApplicationDependencies = ApplicationDependencies(), logger: Logger) throws
  -> some ApplicationProtocol
{
  let backend = try dependencies.mailBackend ?? settings.email.makeBackend(now: dependencies.now())
  let certificate = try settings.edge.loadCertificate(logger: logger)
  // Last of what may refuse the start: a start that is refused leaves the schema as it was.
  let store = try SQLiteStore(path: settings.databasePath, onStatement: dependencies.onStatement) { reason in
    logger.error("The database cannot be used any more", metadata: ["reason": "\(reason)"])
  }
  try store.migrate()
  let context = ResetContext(
    users: store, outbox: store, tokenGenerator: settings.tokenGenerator, identifierHasher: IdentifierHasher(secretKey: settings.secretKey),
    now: dependencies.now)
  let registry = dependencies.registry
  let templates = CurrentTemplates(settings.templates)
  let auditTrail = AuditTrail(
    store: store, lifetime: TimeInterval(settings.auditDays) * 86400, registry: registry, logger: logger, now: dependencies.now)

  var policy = dependencies.outboxPolicy
  policy.emailLimits = settings.edge.mailLimits
  policy.totalEmailLimits = settings.edge.totalMailLimits
  policy.setLimits(of: settings.email)
  let leases = LeaseKeeper(outbox: store, duration: policy.lease, now: dependencies.now)
  let sender = MailSender(backend, policy: policy, registry: registry, now: dependencies.now)
  let links = ResetLinkFactory(
    tokenGenerator: context.tokenGenerator, resetURL: settings.resetURL, lifetime: settings.passwordResetTimeout)
  let handler = ResetMailHandler(
    context: context, links: links, composer: templates, sender: sender, leases: leases, policy: policy)
  let worker = OutboxWorker(
    outbox: store, leases: leases, handler: handler, sender: sender, policy: policy, logger: logger, now: dependencies.now)

  let slots = settings.passwordHasherConcurrency
  let service = PasswordResetService(
    context: context, auditTrail: auditTrail, passwords: settings.passwordPolicy(hasher: dependencies.hasher),
    hashing: HashingPool(slots: slots, queueLimit: 32 * slots, registry: registry), leases: leases, sendsNotice: settings.email.notifiesOfChange)
  let metrics = HTTPMetrics(registry)
  let isReady: @Sendable () async -> Bool = { await store.isReady(logger) }
  let rateLimiter = RequestRateLimiter(
    requests: settings.edge.requestLimits, links: settings.edge.linkLimits, trustedProxies: settings.edge.trustedProxies, metrics: metrics,
    now: dependencies.now)
  let api = API(
    service: service, languages: settings.languages, rateLimiter: rateLimiter, allowedOrigins: settings.edge.allowedOrigins, metrics: metrics,
    isReady: isReady)
  let connections = ConnectionCount(limit: dependencies.maxConnections)
  HTTPMetrics.measure(connections, in: registry)
  store.measureOutbox(in: registry, now: dependencies.now)
  registry.gauge("password_reset_database_up", "Whether the database answers and can be written, as /health/ready tells.") { await isReady() ? 1 : 0 }
  let admin = AdminListener(
    registry: registry, mailbox: settings.isDevelopment ? backend as? any Mailbox : nil, settings, dependencies, logger: logger, isReady: isReady)
  let reloader = dependencies.reloadsOnHangup ? TemplateReloader(settings, current: templates, logger: logger) : nil
  // They end in the opposite order, after the listener.
  let others: [(any Service)?] = [certificate, reloader, auditTrail, admin, worker]
  return Application(
    responder: api, server: .guarded(connections: connections, certificate: certificate, metrics: metrics, logger: logger),
    configuration: .init(
      address: .hostname(settings.httpHost, port: settings.httpPort), backlog: ConnectionCount.backlog, reuseAddress: true,
      availableConnectionsDelegate: connections),
    services: others.compactMap(\.self),
    onServerRunning: { dependencies.onListening($0.localAddress?.port ?? settings.httpPort) },
    logger: logger)
}

extension Settings {
  var tokenGenerator: PasswordResetTokenGenerator {
    PasswordResetTokenGenerator(secretKey: secretKey, fallbacks: secretKeyFallbacks, timeout: passwordResetTimeout, timeZone: timeZone)
  }

  /// - Parameter hasher: in the place of the configured one.
  fileprivate func passwordPolicy(hasher: (any PasswordHasher)?) -> PasswordPolicy {
    PasswordPolicy(
      hashers: PasswordHashers(preferred: hasher ?? passwordHasher), validators: passwordRules.validators,
      refusesCurrentPassword: passwordRules.refusesCurrentPassword)
  }
}

extension OutboxPolicy {
  fileprivate mutating func setLimits(of email: EmailSettings) {
    connections = email.connections
    rate = email.rate
    accountsPerRequest = email.accountsPerRequest
    deadLetterLifetime = TimeInterval(email.deadLetterDays) * 86400
  }
}

extension SQLiteStore {
  fileprivate func measureOutbox(in registry: Registry, now: @escaping @Sendable () -> Date) {
    registry.gauge(
      "password_reset_outbox_jobs", "Jobs that wait, and dead letters that are still kept.", labels: ["state"]
    ) {
      // Left out when the database cannot say.
      guard let counts = try? await outboxCounts() else { return [] }
      return [(["waiting"], Double(counts.waiting)), (["dead"], Double(counts.dead))]
    }
    registry.gauge("password_reset_outbox_oldest_age_seconds", "How long the oldest request or mail has waited; 0 if none does.") {
      // As above.
      guard let counts = try? await outboxCounts() else { return nil }
      return counts.oldest.map { max(0, now().timeIntervalSince($0)) } ?? 0
    }
  }

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
