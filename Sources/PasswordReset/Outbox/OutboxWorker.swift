package import Foundation
package import Logging
public import ServiceLifecycle

/// Turns the jobs of one channel of the outbox into emails or webhooks, and retries what fails.
///
/// A crash loses nothing: the leases of a process that died run out, and other processes claim its jobs.
public final class OutboxWorker: Service {
  private static let purgeInterval: TimeInterval = 3600
  private static let correctionInterval: TimeInterval = 60
  /// Small batches, so that requests do not wait for the database.
  private static let purgeBatch = 500
  /// How long to wait before an outcome that could not be recorded is recorded again.
  private static let recordPause = Duration.milliseconds(200)
  /// How often the outcome of what was sent is recorded again during a shutdown.
  private static let recordsAtShutdown = 10

  private let outbox: any OutboxStore
  private let leases: LeaseKeeper
  private let handler: any JobHandler
  private let sender: any Sender
  private let reports: WebhookReports?
  private let policy: OutboxPolicy
  private let logger: Logger
  private let now: @Sendable () -> Date
  private let sleep: @Sendable (Duration) async throws -> Void
  private let executor: any TaskExecutor

  /// Creates a worker for emails.
  /// - Parameters:
  ///   - reports: Makes the jobs that report how an email's job ended.
  ///   - executor: Runs the jobs. Several workers can share it.
  ///   - sleep: Waits. The simulation replaces it together with `now`.
  package convenience init(
    outbox: any OutboxStore, leases: LeaseKeeper, handler: ResetMailHandler, sender: MailSender, reports: WebhookReports, policy: OutboxPolicy,
    executor: any TaskExecutor, logger: Logger, now: @escaping @Sendable () -> Date,
    sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
  ) {
    self.init(outbox, leases, handler, sender, reports, policy, executor, logger, now, sleep)
  }

  /// Creates a worker for webhooks.
  package convenience init(
    outbox: any OutboxStore, leases: LeaseKeeper, handler: WebhookHandler, sender: WebhookSender, policy: OutboxPolicy, executor: any TaskExecutor,
    logger: Logger, now: @escaping @Sendable () -> Date,
    sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
  ) {
    self.init(outbox, leases, handler, sender, nil, policy, executor, logger, now, sleep)
  }

  private init(
    _ outbox: any OutboxStore, _ leases: LeaseKeeper, _ handler: any JobHandler, _ sender: any Sender, _ reports: WebhookReports?,
    _ policy: OutboxPolicy, _ executor: any TaskExecutor, _ logger: Logger, _ now: @escaping @Sendable () -> Date,
    _ sleep: @escaping @Sendable (Duration) async throws -> Void
  ) {
    self.outbox = outbox
    self.leases = leases
    self.handler = handler
    self.sender = sender
    self.reports = reports
    self.policy = policy
    self.executor = executor
    self.logger = logger
    self.now = now
    self.sleep = sleep
  }

  /// Works until the graceful shutdown. Then it finishes what is being sent, whose leases it keeps, and releases the jobs that have not begun.
  public func run() async {
    await withTaskExecutorPreference(executor) {
      await withGracefulShutdownHandler {
        let listener = Task(executorPreference: executor) { await self.listen() }
        await withDiscardingTaskGroup { group in await work(in: &group) }
        listener.cancel()
      } onGracefulShutdown: { [sender, leases] in
        sender.stop()
        leases.wakeup.wake()
      }
    }
  }

  private func work(in group: inout DiscardingTaskGroup) async {
    var alarm = WorkerAlarm(leases.wakeup, on: executor, sleep: sleep)
    var nextPurge = Date.distantPast
    var nextExtension = Date.distantPast
    var nextCorrection = Date.distantPast
    // The clock may have been ahead before the start.
    var longestWait: OutboxWait? = policy.longestWait
    repeat {
      leases.endSleep()
      if leases.clockWasSetBack() {
        longestWait = .zero
        sender.gate.clockWasSetBack()
      }
      // A process that has ended may have recorded a time after the clock was set back.
      if longestWait == nil, nextCorrection <= now() { longestWait = .longest }
      if let wait = longestWait, await correctTimes(longestWait: wait) {
        longestWait = nil
        nextCorrection = now().addingTimeInterval(Self.correctionInterval)
      }
      // A next time that is too far ahead dates from before the clock was set back.
      if nextPurge <= now() || nextPurge > now().addingTimeInterval(Self.purgeInterval) { nextPurge = await purge() }
      nextExtension = await extendLeases(ifDue: nextExtension)
      if sender.gate.opensAt != nil { await probeIfRetried() }
      let opensAt = sender.gate.opensAt
      // While the breaker is half-open, a few jobs suffice to probe the receiver; all others stay untouched.
      let limit = opensAt != nil ? 0 : sender.gate.isProbing ? policy.connections : policy.maxClaimed
      for job in leases.takeCommitted(limit: limit, at: now()) { group.addTask { [self] in await handle(job) } }
      let free = limit - leases.heldOrReserved
      // A claim costs a commit, so it waits until there is room for several jobs.
      let hasRoom = free > limit / 2
      let isClaimDue = leases.nextClaim <= now() || leases.nextClaim > now().addingTimeInterval(policy.pollInterval)
      if hasRoom, isClaimDue, let jobs = await claim(free) {
        for job in jobs { group.addTask { [self] in await handle(job) } }
      }
      let nextWork = min(leases.nextStart ?? .distantFuture, hasRoom ? leases.nextClaim : .distantFuture)
      let wakeTime = min(nextExtension, opensAt ?? .distantFuture, nextWork)
      leases.beginSleep(.init(until: wakeTime, heldBelow: hasRoom ? 0 : limit - limit / 2))
      await alarm.wait(until: wakeTime, atMost: policy.pollInterval, now: now())
    } while !Task.isShuttingDownGracefully && !Task.isCancelled
    leases.endSleep()
    // The process that takes over must not claim and send what is still being sent.
    repeat {
      for job in leases.takeCommitted(limit: 0) { group.addTask { [self] in await handle(job) } }
      nextExtension = await extendLeases(ifDue: nextExtension)
      if leases.heldOrReserved > 0 { await alarm.wait(until: nextExtension, atMost: policy.pollInterval, now: now()) }
    } while leases.heldOrReserved > 0 && !Task.isCancelled
  }

  /// Claims at once when another process adds jobs, so that they do not wait for the next poll. The worker for emails listens for the one for
  /// webhooks, because listening may take a connection to the database.
  private func listen() async {
    guard leases.channel == .email else { return }
    let notifications = outbox.jobNotifications()
    await withDiscardingTaskGroup { group in
      for leases in [leases, reports?.leases].compactMap(\.self) {
        guard let stream = notifications[leases.channel] else { continue }
        group.addTask { for await _ in stream { leases.claimSoon() } }
      }
    }
  }

  private func claim(_ limit: Int) async -> [Job]? {
    do {
      return try await leases.claim(limit: limit, pollInterval: policy.pollInterval)
    } catch {
      logger.error("Cannot claim jobs; they wait", metadata: ["reason": "\(error)"])
      return nil
    }
  }

  /// Corrects times in the future, and returns whether the store could.
  private func correctTimes(longestWait: OutboxWait) async -> Bool {
    do {
      let count = try await leases.correctTimes(longestWait: longestWait)
      if count > 0 { logger.notice("Jobs with times too far in the future are due now", metadata: ["jobs": "\(count)"]) }
      return true
    } catch {
      logger.error("Cannot write to the outbox; jobs wait", metadata: ["reason": "\(error)"])
      return false
    }
  }

  /// Does not wait for the breaker if an operator retried jobs after the last failure.
  private func probeIfRetried() async {
    do {
      if let date = try await outbox.lastRetry(leases.channel) { sender.gate.allowProbe(ifFailedBefore: date) }
    } catch {
      logger.error("Cannot read the outbox", metadata: ["reason": "\(error)"])
    }
  }

  /// Extends the leases if it is time, and returns when to do so again.
  private func extendLeases(ifDue date: Date) async -> Date {
    // Read before the extension: the new leases end no earlier than a lease after this.
    let start = now()
    let interval = policy.lease / 3
    guard date <= start || date > start.addingTimeInterval(interval) else { return date }
    do {
      try await leases.extend()
    } catch {
      logger.error("Cannot write to the outbox; jobs wait", metadata: ["reason": "\(error)"])
    }
    return start.addingTimeInterval(interval)
  }

  /// Deletes a batch of old dead letters, and returns when to do so again.
  private func purge() async -> Date {
    do {
      let count = try await outbox.purgeDeadLetters(before: now().addingTimeInterval(-policy.deadLetterLifetime), limit: Self.purgeBatch)
      if count == Self.purgeBatch { return now() }
    } catch {
      logger.error("Cannot delete old dead letters", metadata: ["reason": "\(error)"])
    }
    return now().addingTimeInterval(Self.purgeInterval)
  }

  private func handle(_ job: Job) async {
    let wasProbing = sender.gate.isProbing
    let start = now()
    defer { leases.note(start) }
    do {
      let outcome = try await handler.handle(job)
      await record(outcome, of: job)
    } catch {
      leases.abandon(job)
      logger.error("Cannot use the database; the job waits", metadata: ["reason": "\(error)", "request_id": "\(job.requestID)"])
    }
    if wasProbing || sender.gate.isProbing { leases.wakeup.wake() } else { leases.wakeIfWaiting() }
  }

  /// Records how a job ended, and keeps trying: what was sent must not be sent again because the database was locked at that moment.
  private func record(_ outcome: JobOutcome, of job: Job) async {
    let following = reports?.jobs(after: outcome, of: job, at: now()) ?? []
    var isFirstAttempt = true
    // During a shutdown, another process can handle a job that sent nothing. What was sent would be sent again.
    var attemptsAtShutdown = outcome.isSent ? Self.recordsAtShutdown : 0
    while true {
      do {
        if try await leases.finish(job, outcome, adding: following) {
          if !following.isEmpty { reports?.leases.claimSoon() }
          outcome.report(job, to: logger, sender.metrics, at: now())
        } else {
          logger.debug("Another process took over the job, or it was deleted", metadata: ["request_id": "\(job.requestID)"])
        }
        return
      } catch {
        if isFirstAttempt {
          logger.error(
            "Cannot write to the outbox; the outcome of a job is not yet recorded",
            metadata: ["reason": "\(error)", "request_id": "\(job.requestID)"])
        }
        isFirstAttempt = false
      }
      if Task.isShuttingDownGracefully {
        guard attemptsAtShutdown > 0 else { return leases.abandon(job) }
        attemptsAtShutdown -= 1
      }
      do { try await sleep(Self.recordPause) } catch { return leases.abandon(job) }
    }
  }
}
