public import Credentials
public import Foundation
public import Logging
public import Prometheus
public import ServiceLifecycle
import Synchronization

/// Turns what the outbox owes into mails: looks the users up, makes the tokens, hands the mails over, and tries again what fails.
///
/// A crash loses nothing: an entry is taken on a lease, which is renewed while the worker lives, and is due again when the lease runs out.
public final class OutboxWorker: Service {
  private static let purgeInterval: TimeInterval = 3600
  /// Small, so that nobody waits for the database.
  private static let purgeBatch = 500
  /// What could not be recorded is recorded as soon as the database lets it.
  private static let recordPause = Duration.milliseconds(200)

  private let outbox: any OutboxStore
  private let courier: ResetMailHandler
  private let line: MailSender
  private let policy: OutboxPolicy
  private let wakeup: WorkerWakeup
  private let metrics: MailMetrics
  private let logger: Logger
  private let now: @Sendable () -> Date
  private let inHand: LeaseKeeper
  private let executor = BackgroundExecutor(threads: ProcessInfo.processInfo.activeProcessorCount)

  /// - Parameter timeout: `PASSWORD_RESET_TIMEOUT`, which the mail tells the reader.
  public init(
    users: any UserStore, outbox: any OutboxStore, tokenGenerator: PasswordResetTokenGenerator, identifierHasher: IdentifierHasher,
    resetURL: ResetURL, timeout: Int, compose: @escaping MailComposer, backend: any MailBackend, policy: OutboxPolicy, wakeup: WorkerWakeup,
    registry: Registry,
    logger: Logger, now: @escaping @Sendable () -> Date
  ) {
    self.outbox = outbox
    self.policy = policy
    self.wakeup = wakeup
    metrics = MailMetrics(registry)
    self.logger = logger
    self.now = now
    inHand = LeaseKeeper(outbox: outbox, duration: policy.lease, now: now)
    line = MailSender(backend: backend, metrics: metrics, policy: policy, now: now)
    courier = ResetMailHandler(
      users: users, outbox: outbox, tokenGenerator: tokenGenerator, identifierHasher: identifierHasher, resetURL: resetURL, timeout: timeout,
      compose: compose, line: line, policy: policy, now: now)
  }

  /// Works until the graceful shutdown, then lets the mails under way finish and gives back what has not begun.
  public func run() async {
    await withTaskExecutorPreference(executor) { await work() }
  }

  private func work() async {
    await withGracefulShutdownHandler {
      await withDiscardingTaskGroup { group in
        var signals = wakeup.signals.makeAsyncIterator()
        var nextPurge = Date.distantPast
        var nextRenewal = Date.distantPast
        var open = true
        while open, !Task.isShuttingDownGracefully {
          if nextPurge <= now() { nextPurge = await purge() }
          let renewalPause = policy.lease / 3
          // Also if the clock was set back.
          if nextRenewal <= now() || nextRenewal > now().addingTimeInterval(renewalPause) {
            await renew()
            nextRenewal = now().addingTimeInterval(renewalPause)
          }
          let pause = min(nextRenewal, now().addingTimeInterval(policy.pollInterval))
          let allowance = line.allowance
          let free = allowance - inHand.count
          // Not for one at a time: each look costs a commit.
          guard free > allowance / 2, let entries = await claim(limit: free) else {
            open = await sleep(until: line.closedUntil.map { min($0, pause) } ?? pause, signals: &signals)
            continue
          }
          for entry in entries {
            group.addTask { [self] in
              await handle(entry)
              wakeup.wake()
            }
          }
          if entries.isEmpty { open = await sleep(until: nextDue(before: pause), signals: &signals) }
        }
      }
    } onGracefulShutdown: { [wakeup, line] in
      line.stop()
      wakeup.finish()
    }
  }

  private func claim(limit: Int) async -> [OutboxEntry]? {
    do {
      return try await inHand.claim(limit: limit)
    } catch {
      logger.error("The outbox cannot be read; the mails wait", metadata: ["reason": "\(error)"])
      return nil
    }
  }

  private func renew() async {
    do {
      try await inHand.renew()
    } catch {
      logger.error("The outbox cannot be written; the mails wait", metadata: ["reason": "\(error)"])
    }
  }

  /// Deletes a batch of old dead letters; when to do so again.
  private func purge() async -> Date {
    do {
      let count = try await outbox.purgeDeadLetters(before: now().addingTimeInterval(-policy.deadLetterLifetime), limit: Self.purgeBatch)
      // A full batch: there may be more, at the next look.
      return count == Self.purgeBatch ? now() : now().addingTimeInterval(Self.purgeInterval)
    } catch {
      logger.error("Old dead letters cannot be deleted", metadata: ["reason": "\(error)"])
      return now().addingTimeInterval(Self.purgeInterval)
    }
  }

  private func handle(_ entry: OutboxEntry) async {
    do {
      let (outcome, audit) = try await courier.deliver(entry) { await inHand.holds(entry) }
      await record(outcome, audit, of: entry)
    } catch {
      inHand.drop(entry)
      logger.error("The outbox cannot be read; the mail waits", metadata: ["reason": "\(error)", "request_id": "\(entry.requestID)"])
    }
  }

  /// Writes down how an entry ended. A mail that went out is not to go out again because the database was locked just then.
  private func record(_ outcome: OutboxOutcome, _ audit: AuditRecord?, of entry: OutboxEntry) async {
    var isFirstTry = true
    while true {
      do {
        if try await inHand.finish(entry, outcome, audit: audit) {
          log(outcome, audit, of: entry)
        } else {
          logger.debug("Outbox entry is no longer ours", metadata: ["request_id": "\(entry.requestID)"])
        }
        return
      } catch {
        if isFirstTry {
          logger.error(
            "The outbox cannot be written; what became of a mail is not yet recorded",
            metadata: ["reason": "\(error)", "request_id": "\(entry.requestID)"])
        }
        isFirstTry = false
      }
      // A stop has no time for more; the lease runs out, and the mail comes twice.
      guard !Task.isShuttingDownGracefully else { return inHand.drop(entry) }
      do { try await Task.sleep(for: Self.recordPause) } catch { return inHand.drop(entry) }
    }
  }

  private func log(_ outcome: OutboxOutcome, _ audit: AuditRecord?, of entry: OutboxEntry) {
    var metadata: Logger.Metadata = ["request_id": "\(entry.requestID)", "attempts": "\(entry.attempts)"]
    switch outcome {
    case .done:
      if audit?.event == .mailed { metrics.mails.increment("sent") }
      metadata["event"] = "\(audit?.event.rawValue ?? "")"
      logger.info("Outbox entry done", metadata: metadata)
    case .split(let userIDs):
      metadata["accounts"] = "\(userIDs.count)"
      logger.info("Request concerns several accounts", metadata: metadata)
    case .release: logger.debug("Outbox entry given back", metadata: metadata)
    case .retry(let date, let reason):
      metrics.mails.increment("retried")
      metadata["reason"] = "\(reason)"
      metadata["retry_in"] = "\(Int(date.timeIntervalSince(now()).rounded(.up))) s"
      logger.warning("Mail not sent, will be tried again", metadata: metadata)
    case .bury(let reason):
      metrics.mails.increment("given_up")
      metadata["reason"] = "\(reason)"
      logger.error("Mail given up", metadata: metadata)
    }
  }

  /// When something is due, but no later than `limit`.
  private func nextDue(before limit: Date) async -> Date {
    do {
      return min(try await outbox.nextDue() ?? limit, limit)
    } catch {
      return limit
    }
  }

  /// Waits for `date` or the wakeup; false when the wakeup has been silenced for good.
  private func sleep(until date: Date, signals: inout AsyncStream<Void>.AsyncIterator) async -> Bool {
    let wait = date.timeIntervalSince(now())
    let timer = Task { [wakeup] in
      try await Task.sleep(for: .seconds(max(wait, 0.001)))
      wakeup.wake()
    }
    defer { timer.cancel() }
    return await signals.next() != nil
  }
}
