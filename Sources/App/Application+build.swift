import Credentials
import Foundation
import HTTPAPI
import Hummingbird
import Logging
import Mail
import PasswordReset
import SQLiteStore
import ServiceLifecycle

/// What the service takes from outside: tests put their own in its place.
struct World: Sendable {
  var now: @Sendable () -> Date = { Date() }
  /// In the place of the configured mail backend.
  var mailBackend: (any MailBackend)?
  /// In the place of the configured hasher.
  var hasher: (any PasswordHasher)?
  var outboxPolicy = OutboxPolicy()
  var edgeLimits = EdgeLimits(connections: 1000)
  /// Sees every SQL statement, without its values.
  var onStatement: (@Sendable (String) -> Void)?
  /// Called with the port when the server listens, and the listener for this machine alone.
  var onListening: @Sendable (Int) -> Void = { _ in }
  var onAdminListening: @Sendable (Int) -> Void = { _ in }
}

/// Builds the whole service from its settings. The one place where the parts meet; tests call it too.
func buildApplication(_ settings: Settings, world: World = World(), logger: Logger) throws -> some ApplicationProtocol {
  let store = try SQLiteStore(path: settings.databasePath, onStatement: world.onStatement)
  try store.migrate()
  let backend = try world.mailBackend ?? settings.email.makeBackend(now: world.now())
  let bell = Bell()
  let tokenGenerator = settings.tokenGenerator

  var policy = world.outboxPolicy
  policy.mailLimits = settings.edge.mailLimits
  policy.totalMailLimits = settings.edge.totalMailLimits
  policy.setLimits(of: settings.email)
  let worker = OutboxWorker(
    users: store, outbox: store, tokenGenerator: tokenGenerator, identifierHasher: IdentifierHasher(secretKey: settings.secretKey),
    resetURL: settings.resetURL, timeout: settings.passwordResetTimeout, compose: settings.templates.compose, backend: backend, policy: policy,
    bell: bell, logger: logger, now: world.now)

  let slots = settings.passwordHasherConcurrency
  let service = PasswordResetService(
    users: store, outbox: store, tokenGenerator: tokenGenerator, passwords: settings.passwordPolicy(hasher: world.hasher),
    hashing: HashingPool(slots: slots, queueLimit: 32 * slots), notifiesOfChange: settings.email.notifiesOfChange, bell: bell, now: world.now)
  let admin = settings.isDevelopment ? (backend as? any Mailbox).map { AdminListener($0, settings, world, logger: logger) } : nil
  let api = API(
    service: service, languages: settings.languages, policy: settings.edge.policy, now: world.now, isReady: { await store.isReady() })
  let certificate = try settings.edge.loadCertificate(logger: logger)
  let edge = Edge(limits: world.edgeLimits, certificate: certificate, logger: logger)
  let others: [(any Service)?] = [worker, admin, certificate]
  return Application(
    router: api.router(), server: edge.server,
    configuration: .init(
      address: .hostname(settings.httpHost, port: settings.httpPort), backlog: edge.backlog, reuseAddress: true,
      availableConnectionsDelegate: edge.availableConnections),
    services: others.compactMap(\.self),
    onServerRunning: { world.onListening($0.localAddress?.port ?? settings.httpPort) },
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
  fileprivate func isReady() async -> Bool {
    do {
      try await ping()
      return true
    } catch {
      return false
    }
  }
}
