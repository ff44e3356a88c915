public import Foundation
public import Logging
public import ServiceLifecycle
import Synchronization

/// What the worker may take its time for.
public struct OutboxPolicy: Sendable {
  /// How many mails are handed over at once.
  public var connections = 4
  /// How long an entry may take before another worker may take it on; longer than the backend's own time limit.
  public var lease: TimeInterval = 5
  /// From when on a mail comes too late to be of use.
  public var lifetime: TimeInterval = 24 * 3600
  /// The wait after the first failure; it doubles with each.
  public var firstRetry: TimeInterval = 1
  public var longestRetry: TimeInterval = 600
  /// How often to look without being rung: for what another process left.
  public var patrol: TimeInterval = 5
  /// Django has none: how many mails one address gets.
  public var mailLimits: [RateLimit] = []

  public init() {}
}

/// Turns what the outbox owes into mails: looks the users up, makes the tokens, hands the mails over, and tries again what fails.
///
/// A crash loses nothing: an entry is taken on a lease, and is due again when the lease runs out.
public final class OutboxWorker: Service {
  private let outbox: any OutboxStore
  private let courier: Courier
  private let policy: OutboxPolicy
  private let bell: Bell
  private let logger: Logger
  private let now: @Sendable () -> Date
  /// How many entries are being handled.
  private let inFlight = Atomic(0)

  public init(outbox: any OutboxStore, courier: Courier, policy: OutboxPolicy, bell: Bell, logger: Logger, now: @escaping @Sendable () -> Date) {
    self.outbox = outbox
    self.courier = courier
    self.policy = policy
    self.bell = bell
    self.logger = logger
    self.now = now
  }

  /// Works until the graceful shutdown, then lets the mails under way finish.
  public func run() async {
    await withGracefulShutdownHandler {
      await withDiscardingTaskGroup { group in
        var rings = bell.rings.makeAsyncIterator()
        var open = true
        while open, !Task.isShuttingDownGracefully {
          let free = policy.connections - inFlight.load(ordering: .acquiring)
          guard free > 0, let entries = await claim(limit: free) else {
            open = await sleep(until: nextPatrol(), rings: &rings)
            continue
          }
          for entry in entries {
            inFlight.add(1, ordering: .acquiringAndReleasing)
            group.addTask { [self] in
              await handle(entry)
              inFlight.subtract(1, ordering: .acquiringAndReleasing)
              bell.ring()
            }
          }
          if entries.isEmpty { open = await sleep(until: nextLook(), rings: &rings) }
        }
      }
    } onGracefulShutdown: { [bell] in
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

  private func handle(_ entry: OutboxEntry) async {
    do {
      let (outcome, audit) = try await courier.deliver(entry)
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
