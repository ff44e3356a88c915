public import Credentials
public import Foundation
public import Logging
public import ServiceLifecycle
import Synchronization

/// Turns what the outbox owes into mails: looks the users up, makes the tokens, hands the mails over, and tries again what fails.
///
/// A crash loses nothing: an entry is taken on a lease, and is due again when the lease runs out.
public final class OutboxWorker: Service {
  private static let purgeInterval: TimeInterval = 3600
  /// Small, so that nobody waits for the database.
  private static let purgeBatch = 500

  private let outbox: any OutboxStore
  private let courier: Courier
  private let line: MailLine
  private let policy: OutboxPolicy
  private let bell: Bell
  private let logger: Logger
  private let now: @Sendable () -> Date
  /// How many entries are in hand.
  private let inHand = Atomic(0)
  private let nextPurge = Mutex(Date.distantPast)

  /// - Parameter timeout: `PASSWORD_RESET_TIMEOUT`, which the mail tells the reader.
  public init(
    users: any UserStore, outbox: any OutboxStore, tokenGenerator: PasswordResetTokenGenerator, identifierHasher: IdentifierHasher,
    resetURL: ResetURL, timeout: Int, compose: @escaping MailComposer, backend: any MailBackend, policy: OutboxPolicy, bell: Bell, logger: Logger,
    now: @escaping @Sendable () -> Date
  ) {
    self.outbox = outbox
    self.policy = policy
    self.bell = bell
    self.logger = logger
    self.now = now
    line = MailLine(backend: backend, policy: policy, now: now)
    courier = Courier(
      users: users, outbox: outbox, tokenGenerator: tokenGenerator, identifierHasher: identifierHasher, resetURL: resetURL, timeout: timeout,
      compose: compose, line: line, policy: policy, now: now)
  }

  /// Works until the graceful shutdown, then lets the mails under way finish and gives back what has not begun.
  public func run() async {
    await withGracefulShutdownHandler {
      await withDiscardingTaskGroup { group in
        var rings = bell.rings.makeAsyncIterator()
        var open = true
        while open, !Task.isShuttingDownGracefully {
          await purgeIfDue()
          let free = line.allowance - inHand.load(ordering: .acquiring)
          let leaseEnd = now().addingTimeInterval(policy.lease)
          guard free > 0, let entries = await claim(limit: free, until: leaseEnd) else {
            open = await sleep(until: min(line.closedUntil ?? .distantFuture, nextPatrol()), rings: &rings)
            continue
          }
          for entry in entries {
            inHand.add(1, ordering: .acquiringAndReleasing)
            group.addTask { [self] in
              await handle(entry, until: leaseEnd)
              inHand.subtract(1, ordering: .acquiringAndReleasing)
              bell.ring()
            }
          }
          if entries.isEmpty { open = await sleep(until: nextLook(), rings: &rings) }
        }
      }
    } onGracefulShutdown: { [bell, line] in
      line.stop()
      bell.silence()
    }
  }

  private func claim(limit: Int, until leaseEnd: Date) async -> [OutboxEntry]? {
    do {
      return try await outbox.claim(limit: limit, at: now(), leaseEnd: leaseEnd)
    } catch {
      logger.error("The outbox cannot be read; the mails wait", metadata: ["reason": "\(error)"])
      return nil
    }
  }

  private func purgeIfDue() async {
    guard nextPurge.withLock({ $0 <= now() }) else { return }
    do {
      let count = try await outbox.purgeDeadLetters(before: now().addingTimeInterval(-policy.deadLetterLifetime), limit: Self.purgeBatch)
      // A full batch: there may be more, at the next look.
      if count < Self.purgeBatch { nextPurge.withLock { $0 = now().addingTimeInterval(Self.purgeInterval) } }
    } catch {
      logger.error("Old dead letters cannot be deleted", metadata: ["reason": "\(error)"])
    }
  }

  private func handle(_ entry: OutboxEntry, until leaseEnd: Date) async {
    do {
      let (outcome, audit) = try await courier.deliver(entry, before: leaseEnd)
      log(outcome, audit, of: entry)
      try await outbox.finish(entry, outcome, audit: audit, at: now())
    } catch {
      // The lease runs out, and the entry is due again.
      logger.error(
        "The outbox cannot be written; the mail will be tried again", metadata: ["reason": "\(error)", "request_id": "\(entry.requestID)"])
    }
  }

  private func log(_ outcome: OutboxOutcome, _ audit: AuditRecord?, of entry: OutboxEntry) {
    var metadata: Logger.Metadata = ["request_id": "\(entry.requestID)", "attempts": "\(entry.attempts)"]
    switch outcome {
    case .done:
      metadata["event"] = "\(audit?.event.rawValue ?? "")"
      logger.info("Outbox entry done", metadata: metadata)
    case .split(let userIDs):
      metadata["accounts"] = "\(userIDs.count)"
      logger.info("Request concerns several accounts", metadata: metadata)
    case .release: logger.debug("Outbox entry given back", metadata: metadata)
    case .retry(let date, let reason):
      metadata["reason"] = "\(reason)"
      metadata["retry_in"] = "\(Int(date.timeIntervalSince(now()).rounded(.up))) s"
      logger.warning("Mail not sent, will be tried again", metadata: metadata)
    case .bury(let reason):
      metadata["reason"] = "\(reason)"
      logger.error("Mail given up", metadata: metadata)
    }
  }

  /// When something is due, but no later than the next patrol.
  private func nextLook() async -> Date {
    do {
      guard let due = try await outbox.nextDue() else { return nextPatrol() }
      return min(due, nextPatrol())
    } catch {
      return nextPatrol()
    }
  }

  private func nextPatrol() -> Date { now().addingTimeInterval(policy.patrol) }

  /// Waits for `date` or the bell; false when the bell has been silenced for good.
  private func sleep(until date: Date, rings: inout AsyncStream<Void>.AsyncIterator) async -> Bool {
    let wait = date.timeIntervalSince(now())
    let timer = Task { [bell] in
      try await Task.sleep(for: .seconds(max(wait, 0.001)))
      bell.ring()
    }
    defer { timer.cancel() }
    return await rings.next() != nil
  }
}
