public import Credentials
public import Foundation
public import Logging
public import ServiceLifecycle
import Synchronization

/// Turns what the outbox owes into mails: looks the users up, makes the tokens, hands the mails over, and tries again what fails.
///
/// A crash loses nothing: an entry is taken on a lease, which is renewed while the worker lives, and is due again when the lease runs out.
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
  /// The entries that are being dealt with, by their keys.
  private let inHand = Mutex<[Int64: OutboxEntry]>([:])

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
        var nextPurge = Date.distantPast
        var nextRenewal = Date.distantPast
        var open = true
        while open, !Task.isShuttingDownGracefully {
          if nextPurge <= now() { nextPurge = await purge() }
          if nextRenewal <= now() {
            await renew()
            nextRenewal = now().addingTimeInterval(policy.lease / 3)
          }
          let pause = min(nextRenewal, now().addingTimeInterval(policy.patrol))
          let allowance = line.allowance
          let free = allowance - inHand.withLock(\.count)
          // Not for one at a time: each look costs a commit.
          guard free > allowance / 2, let entries = await claim(limit: free) else {
            open = await sleep(until: min(line.closedUntil ?? pause, pause), rings: &rings)
            continue
          }
          for entry in entries where takeInHand(entry) {
            group.addTask { [self] in
              await handle(entry)
              bell.ring()
            }
          }
          if entries.isEmpty { open = await sleep(until: nextDue(before: pause), rings: &rings) }
        }
      }
    } onGracefulShutdown: { [bell, line] in
      line.stop()
      bell.silence()
    }
  }

  private func claim(limit: Int) async -> [OutboxEntry]? {
    do {
      return try await outbox.claim(limit: limit, at: now(), leaseEnd: now().addingTimeInterval(policy.lease))
    } catch {
      logger.error("The outbox cannot be read; the mails wait", metadata: ["reason": "\(error)"])
      return nil
    }
  }

  /// False if it is in hand already: its lease ran out while the disk or the machine stood still, and is ours anew.
  private func takeInHand(_ entry: OutboxEntry) -> Bool { inHand.withLock { $0.updateValue(entry, forKey: entry.id) == nil } }

  private func renew() async {
    let entries = inHand.withLock { Array($0.values) }
    guard !entries.isEmpty else { return }
    do {
      try await outbox.renew(entries, leaseEnd: now().addingTimeInterval(policy.lease))
    } catch {
      logger.error("The outbox cannot be written; mails may come twice", metadata: ["reason": "\(error)"])
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
      let (outcome, audit) = try await courier.deliver(entry)
      log(outcome, audit, of: entry)
      // As it is held now, if the lease was taken anew.
      let held = inHand.withLock { $0.removeValue(forKey: entry.id) } ?? entry
      try await outbox.finish(held, outcome, audit: audit, at: now())
    } catch {
      inHand.withLock { $0[entry.id] = nil }
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

  /// When something is due, but no later than `limit`.
  private func nextDue(before limit: Date) async -> Date {
    do {
      return min(try await outbox.nextDue() ?? limit, limit)
    } catch {
      return limit
    }
  }

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
