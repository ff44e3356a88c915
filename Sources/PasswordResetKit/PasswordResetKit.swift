import Concurrency
import Credentials
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
  /// The services that must run while the application runs: they write the audit and, if there is an email backend, send the emails.
  public let services: [any Service]
  /// The metrics of the HTTP interface.
  public let metrics: HTTPMetrics
  private let rateLimiter: RequestRateLimiter
  private let configuration: Configuration

  /// Connects the parts. Nothing runs yet.
  /// - Parameters:
  ///   - store: The users, the outbox and the audit. Its tables must be up to date. If it is also a ``ClientLimitStore``, it counts the
  ///     requests of each client for all instances together.
  ///   - backend: Sends the emails, or `nil` if another process on the same database sends them.
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
    let leases = LeaseKeeper(outbox: store, duration: policy.lease, now: now)
    let worker = backend.map { backend in
      let sender = MailSender(backend, policy: policy, registry: registry, now: now)
      let links = ResetLinkFactory(
        format: store.linkFormat, tokenGenerator: context.tokenGenerator, resetURL: configuration.resetURL,
        cancelTokens: context.cancelTokens, cancelURL: configuration.cancelURL)
      let handler = ResetMailHandler(
        context: context, links: links, composer: configuration.composer, sender: sender, leases: leases, policy: policy)
      return OutboxWorker(outbox: store, leases: leases, handler: handler, sender: sender, policy: policy, logger: logger, now: now)
    }
    let slots = configuration.hashingSlots
    service = PasswordResetService(
      context: context, auditTrail: auditTrail, passwords: configuration.passwords,
      hashing: HashingPool(slots: slots, queueLimit: 32 * slots, registry: registry), leases: leases,
      sendsNotice: configuration.notifiesOfChange, registry: registry)
    // They stop in the opposite order: the worker still has to write to the audit.
    services = [auditTrail] + (worker.map { [$0] } ?? [])
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
