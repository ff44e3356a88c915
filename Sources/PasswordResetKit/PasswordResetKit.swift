import Concurrency
import Credentials
import Foundation
public import HTTPAPI
public import Hummingbird
public import Logging
public import PasswordReset
public import ServiceLifecycle

/// Password reset for a Hummingbird application: HTTP routes, and the services that send the emails.
///
/// Add ``routes(context:)`` to the application's router under any path, and ``services`` to the application. The stand-alone service is built
/// from the same parts. No other type connects them.
public struct PasswordResetKit: Sendable {
  /// The operations, without HTTP.
  public let service: PasswordResetService
  /// The services that must run while the application runs: they write the audit, send the emails and webhooks if there is an email
  /// backend, and delete the former passwords of deleted users if a rule keeps them.
  public let services: [any Service]
  /// The metrics of the HTTP interface.
  public let metrics: HTTPMetrics
  private let rateLimiter: RequestRateLimiter
  private let configuration: Configuration

  /// Connects the parts. Nothing runs yet.
  /// - Parameters:
  ///   - store: The users, the outbox and the audit. Its tables must be up to date. If it is also a ``ClientLimitStore``, it counts the
  ///     requests of each client for all instances together.
  ///   - backend: Sends the emails, or `nil` if another process on the same database sends them and the webhooks.
  public init(_ configuration: Configuration, store: any AuditStore & OutboxStore & UserStore, backend: (any MailBackend)?, logger: Logger) {
    let now = configuration.now
    let registry = configuration.registry
    let policy = configuration.outbox
    let context = ResetContext(
      users: store, outbox: store,
      tokenGenerator: PasswordResetTokenGenerator(
        secretKey: configuration.secretKey, fallbacks: configuration.secretKeyFallbacks, timeout: configuration.linkLifetime,
        timeZone: configuration.timeZone),
      cancelTokens: PasswordResetTokenGenerator(
        secretKey: configuration.secretKey, fallbacks: configuration.secretKeyFallbacks, timeout: PasswordResetTokenGenerator.cancelTimeout,
        timeZone: configuration.timeZone, use: .cancel),
      passwordFormat: configuration.passwords.format, identifierHasher: IdentifierHasher(secretKey: configuration.secretKey), now: now)
    let auditTrail = AuditTrail(store: store, lifetime: configuration.auditLifetime, registry: registry, logger: logger, now: now)
    let leases = LeaseKeeper(.email, outbox: store, duration: policy.lease, now: now)
    let webhookLeases = LeaseKeeper(.webhook, outbox: store, duration: policy.lease, now: now)
    let webhooks = WebhookReports(configuration.webhookEvents, leases: webhookLeases)
    let executor = BackgroundExecutor(threads: ProcessInfo.processInfo.activeProcessorCount)
    let mailWorker = backend.map { backend in
      let sender = MailSender(backend, policy: policy, registry: registry, now: now)
      let links = ResetLinkFactory(
        format: store.linkFormat, tokenGenerator: context.tokenGenerator, resetURL: configuration.resetURL,
        cancelTokens: context.cancelTokens, cancelURL: configuration.cancelURL)
      let handler = ResetMailHandler(
        context: context, links: links, composer: configuration.composer, sender: sender, leases: leases, policy: policy)
      return OutboxWorker(
        outbox: store, leases: leases, handler: handler, sender: sender, reports: webhooks, policy: policy, executor: executor, logger: logger,
        now: now)
    }
    // It also runs without a receiver: jobs may wait that were added when there was one.
    let webhookWorker = backend.map { _ in
      let policy = policy.forWebhooks
      let sender = WebhookSender(configuration.webhookBackend, policy: policy, registry: registry, now: now)
      let handler = WebhookHandler(sender: sender, leases: webhookLeases, policy: policy, now: now)
      return OutboxWorker(
        outbox: store, leases: webhookLeases, handler: handler, sender: sender, policy: policy, executor: executor, logger: logger, now: now)
    }
    let slots = configuration.hashingSlots
    service = PasswordResetService(
      context: context, auditTrail: auditTrail, passwords: configuration.passwords,
      hashing: HashingPool(slots: slots, queueLimit: 32 * slots, registry: registry), leases: leases, webhooks: webhooks,
      sendsNotice: configuration.notifiesOfChange, registry: registry)
    // They stop in the opposite order: the worker still has to write to the audit.
    let cleanup: [any Service] = configuration.passwords.formerPasswordCount > 0 ? [DeletedUserCleanup(users: store, logger: logger)] : []
    services = cleanup + [auditTrail] + [webhookWorker, mailWorker].compactMap(\.self)
    metrics = HTTPMetrics(registry)
    rateLimiter = RequestRateLimiter(
      requests: configuration.requestLimits, links: configuration.linkLimits,
      shared: (store as? any ClientLimitStore).map { RequestRateLimiter.Shared($0, hasher: context.identifierHasher) },
      metrics: metrics, now: now)
    self.configuration = configuration
  }

  /// Returns the routes for the router of an application, which can add them under any path: `router.addRoutes(kit.routes(), atPath: "/account")`.
  public func routes<Context: RemoteAddressRequestContext>(context: Context.Type = Context.self) -> RouteCollection<Context> {
    api(isReady: nil).routes()
  }

  /// Returns the whole interface, to answer a listener.
  /// - Parameter isReady: Whether the service can answer requests, or `nil` to leave out the routes for health and for `openapi.yaml`.
  public func api(isReady: (@Sendable () async -> Bool)?) -> API {
    API(
      service: service, languages: configuration.languages, trustedProxies: configuration.trustedProxies, rateLimiter: rateLimiter,
      allowedOrigins: configuration.allowedOrigins, metrics: metrics, isReady: isReady)
  }
}
