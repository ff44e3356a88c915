import Credentials
public import Foundation
import Synchronization

/// Keeps this process's leases on the jobs of a channel: which it holds and until when, and which it passes to its worker in memory.
///
/// A lease that ran out, because the disk, the machine or the process stood still, may be another worker's. It is checked
/// before an email or a webhook is sent.
public final class LeaseKeeper: Sendable {
  private struct State {
    /// The ends of the leases on the jobs that the worker holds.
    var held: [Int64: Date] = [:]
    /// Jobs whose handling failed because the store failed. They are released as soon as it works again.
    var abandoned: [Int64] = []
    /// How many jobs may be held at once; 0 unless a worker runs.
    var limit = 0
    /// Jobs that are being committed with a lease.
    var reserved = 0
    /// Jobs that were committed with a lease, and when the worker starts them.
    var committed: [(job: Job, start: Date)] = []
    /// What the worker waits for while it sleeps. Until it sleeps, anything wakes it.
    var sleep = Sleep(until: .distantFuture, heldBelow: .max)
    /// When the worker has to look for due jobs.
    var nextClaim = Date.distantPast
    /// The latest time that the clock has shown since it was set back.
    var latest = Date.distantPast
  }

  /// What the worker waits for.
  struct Sleep {
    /// When it wakes up at the latest.
    var until: Date
    /// It wakes up when it holds fewer jobs than this.
    var heldBelow: Int
  }

  /// How far the clock may go back, in seconds, before times are corrected.
  private static let clockTolerance: TimeInterval = 1

  let channel: JobChannel
  private let outbox: any OutboxStore
  private let owner = String(UInt64.random(in: .min ... .max), radix: 16)
  private let duration: TimeInterval
  private let random: @Sendable (ClosedRange<TimeInterval>) -> TimeInterval
  private let now: @Sendable () -> Date
  private let state = Mutex(State())
  let wakeup = WorkerWakeup()

  /// - Parameter random: Draws a random number of seconds. The simulation replaces it.
  public init(
    _ channel: JobChannel = .email, outbox: any OutboxStore, duration: TimeInterval,
    random: @escaping @Sendable (ClosedRange<TimeInterval>) -> TimeInterval = { .random(in: $0) }, now: @escaping @Sendable () -> Date
  ) {
    self.channel = channel
    self.outbox = outbox
    self.duration = duration
    self.random = random
    self.now = now
  }

  // MARK: - For code that adds jobs

  /// Returns a job to be added to the outbox. If the worker has room and no claim is due, it is leased to this process, which saves the worker a
  /// claim. Jobs that wait for a claim come first: a steady stream of new jobs must not take all the room.
  ///
  /// Afterwards either ``start(_:_:)`` or ``cancel(_:)`` must be called.
  public func makeJob(_ kind: JobKind, locale: String?, requestID: String) -> NewJob {
    let now = now()
    let isLeased = state.withLock { state in
      state.latest = max(state.latest, now)
      guard state.nextClaim > now, state.held.count + state.reserved < state.limit else { return false }
      state.reserved += 1
      return true
    }
    return NewJob(
      kind, locale: locale, requestID: requestID, createdAt: now, due: now.addingTimeInterval(isLeased ? duration : OutboxPolicy.startDelay(random)),
      owner: isLeased ? owner : nil)
  }

  /// Passes a committed job to the worker: in memory if it is leased to this process, otherwise by a claim.
  public func start(_ new: NewJob, _ job: Job) {
    let now = now()
    let start = OutboxPolicy.start(after: now, random)
    let isEarlier = state.withLock { state in
      state.latest = max(state.latest, new.createdAt, now)
      if new.owner == nil {
        state.nextClaim = min(state.nextClaim, new.due)
        return new.due < state.sleep.until
      }
      state.reserved -= 1
      // If the commit took longer than the lease, the worker may have claimed the job, and handles it.
      guard state.held[job.id] == nil else { return false }
      state.held[job.id] = new.due
      state.committed.append((job, start))
      return start < state.sleep.until
    }
    if isEarlier { wakeup.wake() }
  }

  /// Ends the lease of a job that was not committed.
  public func cancel(_ new: NewJob) {
    guard new.owner != nil else { return }
    state.withLock { $0.reserved -= 1 }
    wakeIfWaiting()
  }

  // MARK: - For the worker

  /// Notes a time of the clock that may be in the store from now on: if the clock is set back, or was set back meanwhile, the row must be corrected.
  func note(_ time: Date) { state.withLock { $0.latest = max($0.latest, time) } }

  /// Whether the clock has been set back since the last call. If so, no job waits for a start in the future, and the store is asked before
  /// anything is sent: another process may have corrected the end of a lease.
  func clockWasSetBack() -> Bool {
    let now = now()
    return state.withLock { state in
      defer { state.latest = now }
      guard now < state.latest.addingTimeInterval(-Self.clockTolerance) else { return false }
      for index in state.committed.indices { state.committed[index].start = now }
      for id in state.held.keys { state.held[id] = .distantPast }
      return true
    }
  }

  /// Corrects times in the future that were recorded while the clock was ahead, so that no job waits for them.
  func correctTimes(longestWait: OutboxWait) async throws(StoreError) -> Int {
    let count = try await outbox.correctTimes(channel, lease: duration, longestWait: longestWait, now: now)
    if count > 0 { state.withLock { $0.nextClaim = .distantPast } }
    return count
  }

  /// How many jobs are held, or are being committed with a lease.
  var heldOrReserved: Int { state.withLock { $0.held.count + $0.reserved } }

  /// When the worker has to claim next.
  var nextClaim: Date { state.withLock(\.nextClaim) }

  /// Sets how many jobs may be held at once, and returns the jobs that were passed in memory and start now.
  func takeCommitted(limit: Int, at now: Date = .distantFuture) -> [Job] {
    state.withLock { state in
      state.limit = limit
      let due = state.committed.filter { $0.start <= now }
      if !due.isEmpty { state.committed.removeAll { $0.start <= now } }
      return due.map(\.job)
    }
  }

  /// When the next job starts that was passed in memory.
  var nextStart: Date? { state.withLock { $0.committed.map(\.start).min() } }

  /// Has everything wake the worker from now on, because it is about to look for what there is to do.
  func endSleep() { state.withLock { $0.sleep = Sleep(until: .distantFuture, heldBelow: .max) } }

  /// Has only these wake the worker, because it has done everything else. What happened meanwhile has already woken it.
  func beginSleep(_ sleep: Sleep) { state.withLock { $0.sleep = sleep } }

  /// Wakes the worker if the end of a job is what it waits for.
  func wakeIfWaiting() {
    let isWaiting = state.withLock { $0.held.count + $0.reserved < $0.sleep.heldBelow || $0.nextClaim < $0.sleep.until }
    if isWaiting { wakeup.wake() }
  }

  /// Has the worker claim at once, because another process may have added jobs.
  func claimSoon() {
    state.withLock { $0.nextClaim = .distantPast }
    wakeup.wake()
  }

  /// Claims up to `limit` due jobs, and sets when to claim next.
  func claim(limit: Int, pollInterval: TimeInterval) async throws(StoreError) -> [Job] {
    let start = now()
    note(start)
    defer { note(start) }
    let end = start.addingTimeInterval(duration)
    let poll = start.addingTimeInterval(pollInterval)
    let heldBefore = state.withLock { state in
      // Set before the claim: a job that becomes due meanwhile moves it closer.
      state.nextClaim = poll
      return Set(state.held.keys)
    }
    let jobs = try await outbox.claim(channel, limit: limit, owner: owner, at: start, leaseEnd: end)
    let next = jobs.count == limit ? now() : await nextDue() ?? poll
    return state.withLock { state in
      state.nextClaim = min(state.nextClaim, next)
      // A job whose release was committed, and whose reply was lost, must not be released again while it is handled.
      let ids = Set(jobs.map(\.id))
      state.abandoned.removeAll { ids.contains($0) }
      return jobs.filter { job in
        // A job that lost its owner while it was being handled, by an operator's retry, is ours again. If that handling has ended meanwhile, the
        // job may be done: a lease without time has the store asked before anything is sent.
        let isHeld = state.held[job.id] != nil
        state.held[job.id] = isHeld || !heldBefore.contains(job.id) ? end : .distantPast
        return !isHeld
      }
    }
  }

  /// Returns when the next job is due. If the store cannot say, the regular poll finds the job: the claim before it must not be lost.
  private func nextDue() async -> Date? {
    do { return try await outbox.nextDue(channel, owner: owner) } catch { return nil }
  }

  /// Extends all leases, and releases the jobs whose handling failed.
  func extend() async throws(StoreError) {
    let (ids, abandoned) = state.withLock { ($0.held.map(\.key), $0.abandoned) }
    // The leases first: they run out.
    try await extend(ids)
    guard !abandoned.isEmpty else { return }
    try await outbox.release(abandoned, owner: owner)
    state.withLock { state in
      state.abandoned.removeAll { abandoned.contains($0) }
      state.nextClaim = .distantPast
    }
  }

  /// Whether this process still holds the job for long enough to send its email or webhook.
  func isHeld(_ job: Job) async -> Bool {
    guard let end = state.withLock({ $0.held[job.id] }) else { return false }
    // A longer lease was recorded before the clock was set back.
    if case let left = end.timeIntervalSince(now()), left > duration / 2, left <= duration + Self.clockTolerance { return true }
    // Only the store knows. If it cannot say, the job can wait.
    do { try await extend([job.id]) } catch { return false }
    let now = now()
    return state.withLock { state in state.held[job.id].map { $0 > now } ?? false }
  }

  /// Commits how a job ended, with the jobs that follow; returns `false` if another worker has it or it was deleted.
  func finish(_ job: Job, _ outcome: JobOutcome, adding jobs: [NewJob] = []) async throws(StoreError) -> Bool {
    let now = now()
    note(now)
    defer { note(now) }
    let isRecorded = try await outbox.finish(job, owner: owner, outcome, adding: jobs, at: now)
    state.withLock { state in
      state.held[job.id] = nil
      switch outcome {
      case .split, .release: state.nextClaim = .distantPast
      case .retry(let date, _): state.nextClaim = min(state.nextClaim, date)
      case .done, .deadLetter: break
      }
    }
    return isRecorded
  }

  /// Stops handling a job whose outcome cannot be recorded. This process releases it as soon as the store works again; otherwise another process
  /// claims it when the lease runs out.
  func abandon(_ job: Job) {
    state.withLock { state in
      state.held[job.id] = nil
      state.abandoned.append(job.id)
    }
  }

  /// Extends leases. The store is asked again before anything is sent for a job that another process has taken.
  private func extend(_ ids: [Int64]) async throws(StoreError) {
    guard !ids.isEmpty else { return }
    let now = now()
    note(now)
    defer { note(now) }
    let end = now.addingTimeInterval(duration)
    let ours = try await outbox.extendLeases(of: ids, owner: owner, to: end)
    state.withLock { state in
      for id in ids where state.held[id] != nil { state.held[id] = ours.contains(id) ? end : .distantPast }
    }
  }
}
