import Credentials
public import Foundation
import Synchronization

/// Keeps this process's leases on jobs: which it holds and until when, and which it passes to its worker in memory.
///
/// A lease that ran out, because the disk, the machine or the process stood still, may be another worker's. Nothing is sent without one.
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
    /// Jobs that were committed with a lease, for the worker to start.
    var committed: [Job] = []
    /// When the worker has to look for due jobs.
    var nextClaim = Date.distantPast
  }

  private let outbox: any OutboxStore
  private let owner = String(UInt64.random(in: .min ... .max), radix: 16)
  private let duration: TimeInterval
  private let now: @Sendable () -> Date
  private let state = Mutex(State())
  let wakeup = WorkerWakeup()

  public init(outbox: any OutboxStore, duration: TimeInterval, now: @escaping @Sendable () -> Date) {
    self.outbox = outbox
    self.duration = duration
    self.now = now
  }

  /// A random delay before a job starts, which separates the worker's activity from the reply to the request. It is too short to matter to
  /// an email.
  static var startDelay: TimeInterval { .random(in: 0.005...0.03) }

  // MARK: - For code that adds jobs

  /// Returns a job to be added to the outbox. If the worker has room and no due job waits, it is leased to this process, which saves the worker a
  /// claim. A job that waits comes first: a steady stream of new jobs must not take all the room.
  ///
  /// Afterwards either ``start(_:_:)`` or ``cancel(_:)`` must be called.
  public func makeJob(_ kind: JobKind, locale: String?, requestID: String) -> NewJob {
    let now = now()
    let isLeased = state.withLock { state in
      guard state.nextClaim > now, state.held.count + state.reserved < state.limit else { return false }
      state.reserved += 1
      return true
    }
    return NewJob(
      kind, locale: locale, requestID: requestID, createdAt: now, due: now.addingTimeInterval(isLeased ? duration : Self.startDelay),
      owner: isLeased ? owner : nil)
  }

  /// Passes a committed job to the worker: in memory if it is leased to this process, otherwise by a claim.
  public func start(_ new: NewJob, _ job: Job) {
    state.withLock { state in
      if new.owner == nil {
        state.nextClaim = min(state.nextClaim, new.due)
      } else {
        state.reserved -= 1
        state.held[job.id] = new.due
        state.committed.append(job)
      }
    }
    wakeup.wake()
  }

  /// Ends the lease of a job that was not committed.
  public func cancel(_ new: NewJob) {
    if new.owner != nil { state.withLock { $0.reserved -= 1 } }
  }

  // MARK: - For the worker

  var count: Int { state.withLock { $0.held.count + $0.reserved } }

  /// When the worker has to claim next.
  var nextClaim: Date { state.withLock(\.nextClaim) }

  /// Sets how many jobs may be held at once, and returns the jobs that were passed in memory since the last call.
  func takeCommitted(limit: Int) -> [Job] {
    state.withLock { state in
      state.limit = limit
      defer { state.committed = [] }
      return state.committed
    }
  }

  /// Claims up to `limit` due jobs, and sets when to claim next.
  func claim(limit: Int, pollInterval: TimeInterval) async throws(StoreError) -> [Job] {
    let end = now().addingTimeInterval(duration)
    let poll = now().addingTimeInterval(pollInterval)
    // Set before the claim: a job that becomes due meanwhile moves it closer.
    state.withLock { $0.nextClaim = poll }
    let jobs = try await outbox.claim(limit: limit, owner: owner, at: now(), leaseEnd: end)
    let next = jobs.count == limit ? now() : try await outbox.nextDue(owner: owner) ?? poll
    return state.withLock { state in
      state.nextClaim = min(state.nextClaim, next)
      // A job that another process had claimed and released is ours again; its first handling has not ended.
      return jobs.filter { state.held.updateValue(end, forKey: $0.id) == nil }
    }
  }

  /// Extends all leases; those on jobs that are no longer ours end.
  func extend() async throws(StoreError) {
    let (ids, abandoned) = state.withLock { ($0.held.map(\.key), $0.abandoned) }
    if !abandoned.isEmpty {
      try await outbox.release(abandoned, owner: owner)
      state.withLock { state in
        state.abandoned.removeFirst(abandoned.count)
        state.nextClaim = .distantPast
      }
    }
    try await extend(ids)
  }

  /// Whether the job is still ours for long enough to send its email.
  func isHeld(_ job: Job) async -> Bool {
    guard let end = state.withLock({ $0.held[job.id] }) else { return false }
    if end.timeIntervalSince(now()) > duration / 2 { return true }
    // Only the store knows. If it cannot say, the email can wait.
    do { try await extend([job.id]) } catch { return false }
    let now = now()
    return state.withLock { state in state.held[job.id].map { $0 > now } ?? false }
  }

  /// Commits how a job ended; returns `false` if another worker has it or it was deleted.
  func finish(_ job: Job, _ outcome: JobOutcome) async throws(StoreError) -> Bool {
    let isRecorded = try await outbox.finish(job, owner: owner, outcome, at: now())
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

  /// Stops handling a job whose outcome cannot be recorded. It is due again when the store works again, or when the lease runs out.
  func abandon(_ job: Job) {
    state.withLock { state in
      state.held[job.id] = nil
      state.abandoned.append(job.id)
    }
  }

  private func extend(_ ids: [Int64]) async throws(StoreError) {
    guard !ids.isEmpty else { return }
    let end = now().addingTimeInterval(duration)
    let ours = try await outbox.extendLeases(of: ids, owner: owner, to: end)
    state.withLock { state in
      for id in ids where state.held[id] != nil { state.held[id] = ours.contains(id) ? end : .distantPast }
    }
  }
}
