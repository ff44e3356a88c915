import Concurrency
import Credentials
import Foundation
import Logging
import PasswordReset
import Prometheus
import ServiceLifecycleTestKit
import Synchronization
import Text

/// What the surroundings know about a process.
final class ProcessState: @unchecked Sendable {
  let id: Int
  /// Whether the process can still affect anything. A crash ends that at once; its tasks then run to their ends without effect.
  var isAlive = true
  /// Whether it accepts requests.
  var isServing = true
  var hasEnded = false
  var emails = 0
  var webhooks = 0
  var checkedRetries: Set<[Int64]> = []

  init(id: Int) { self.id = id }
}

/// One process of the service: the parts that `PasswordResetKit` connects, with the time, the threads and the surroundings of the simulation.
final class SimulatedProcess: @unchecked Sendable {
  let state: ProcessState
  let service: PasswordResetService
  private let world: World
  private let workers: [OutboxWorker]
  private var trigger: GracefulShutdownTestTrigger?
  private var task: Task<Void, Never>?

  private static let secretKey = "simulated-secret-key-0123456789"
  private static let tokens = PasswordResetTokenGenerator(secretKey: secretKey, timeout: 3600)
  private static let cancelTokens = PasswordResetTokenGenerator(
    secretKey: secretKey, timeout: PasswordResetTokenGenerator.cancelTimeout, use: .cancel)
  private static let identifierHasher = IdentifierHasher(secretKey: secretKey)
  private static let hashing = HashingPool(slots: 1, queueLimit: 1000, registry: Registry())
  private static let resetURL = ResetURL.ofService(port: 1)

  init(_ id: Int, _ store: SimulatedStore, _ world: World) {
    self.world = world
    state = ProcessState(id: id)
    let store = FaultyStore(store: store, world: world, process: state)
    let now: @Sendable () -> Date = { world.now }
    let sleep: @Sendable (Duration) async throws -> Void = { [state] duration in
      guard state.isAlive else { throw CancellationError() }
      try await world.sleep(duration)
    }
    let sleepUntilShutdown: @Sendable (Duration) async throws -> Void = { [state] duration in
      guard state.isServing else { throw CancellationError() }
      try await world.sleep(duration, process: state.id)
    }
    var policy = world.plan.policy
    policy.random = { world.random.number(in: $0) }
    let registry = Registry()
    let logger = Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }
    let context = ResetContext(
      users: store, outbox: store, tokenGenerator: Self.tokens, cancelTokens: Self.cancelTokens, passwordFormat: .django,
      identifierHasher: Self.identifierHasher, now: now)
    let leases = LeaseKeeper(.email, outbox: store, duration: policy.lease, random: policy.random, now: now)
    let webhookLeases = LeaseKeeper(.webhook, outbox: store, duration: policy.lease, random: policy.random, now: now)
    let webhooks = WebhookReports(Set(WebhookEvent.allCases), leases: webhookLeases)
    let links = ResetLinkFactory(
      format: .django, tokenGenerator: Self.tokens, resetURL: Self.resetURL, cancelTokens: Self.cancelTokens, cancelURL: nil)
    let sender = MailSender(ServerBackend(world: world, process: state), policy: policy, registry: registry, now: now, sleep: sleepUntilShutdown)
    let handler = ResetMailHandler(
      context: context, links: links, composer: PlainComposer(), sender: sender, leases: leases, policy: policy)
    let webhookPolicy = policy.forWebhooks
    let webhookSender = WebhookSender(
      ReceiverBackend(world: world, process: state), policy: webhookPolicy, registry: registry, now: now, sleep: sleepUntilShutdown)
    workers = [
      OutboxWorker(
        outbox: store, leases: leases, handler: handler, sender: sender, reports: webhooks, policy: policy, executor: world.executor, logger: logger,
        now: now, sleep: sleep),
      OutboxWorker(
        outbox: store, leases: webhookLeases, handler: WebhookHandler(sender: webhookSender, leases: webhookLeases, policy: webhookPolicy, now: now),
        sender: webhookSender, policy: webhookPolicy, executor: world.executor, logger: logger, now: now, sleep: sleep),
    ]
    let hashers = PasswordHashers(preferred: NumberingHasher(executor: world.executor))
    service = PasswordResetService(
      context: context,
      auditTrail: AuditTrail(store: NoAudit(), lifetime: 1, registry: registry, logger: logger, now: now),
      passwords: PasswordPolicy(hashers: hashers, validators: [ArrivalValidator(world: world)]),
      hashing: Self.hashing, leases: leases, webhooks: webhooks, sendsNotice: world.plan.sendsNotice, registry: registry)
  }

  func start() {
    task = Task(executorPreference: world.executor) { [self] in
      await testGracefulShutdown { trigger in
        self.trigger = trigger
        if !state.isServing { trigger.triggerGracefulShutdown() }
        await withDiscardingTaskGroup { group in for worker in workers { group.addTask { await worker.run() } } }
      }
      state.hasEnded = true
    }
  }

  func shutDown() {
    state.isServing = false
    trigger?.triggerGracefulShutdown()
    world.endSleeps(of: state.id)
  }

  /// Ends the process as `kill -9` does: nothing that its tasks still do has an effect.
  func crash() {
    (state.isAlive, state.isServing) = (false, false)
    world.ledger.fault(of: state.id)
    trigger?.triggerGracefulShutdown()
    world.endSleeps(of: state.id)
    task?.cancel()
  }
}

/// Announces that hashing is next, which happens on another thread.
private struct ArrivalValidator: PasswordValidator {
  let world: World
  var helpText: LocalizableMessage { LocalizableMessage("") }

  func validate(_ password: String, user: UserAttributes) -> FieldError? {
    world.expectArrival()
    return nil
  }
}

/// Makes another text for each password, without hashing.
private struct NumberingHasher: PasswordHasher {
  private static let last = Atomic<UInt64>(0)

  let executor: SimulatedExecutor
  let algorithm = "simulated"
  let isBounded = true
  let specimen = "simulated$0"

  func encode(_ password: String) -> String {
    executor.waitForSuspension()
    return "simulated$\(Self.last.add(1, ordering: .relaxed).newValue)"
  }

  func recognizes(_ encoded: String) -> Bool { true }

  func verify(_ password: String, encoded: String) -> Bool { false }
}

/// Keeps no lines. The simulation does not run the service that writes them.
private struct NoAudit: AuditStore {
  func append(_ lines: [AuditLine]) async throws(StoreError) {}

  func purgeAudit(before date: Date, limit: Int) async throws(StoreError) -> Int { 0 }

  func purgeCancellations(before time: TokenTime, limit: Int) async throws(StoreError) -> Int { 0 }
}
