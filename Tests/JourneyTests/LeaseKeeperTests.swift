import Concurrency
import Foundation
import SQLiteStore
import Synchronization
import Testing

@testable import PasswordReset

@Suite struct `The lease keeper` {
  private let harness: Harness
  private let store: SQLiteStore
  private let leases: LeaseKeeper

  init() throws {
    harness = try Harness()
    store = try SQLiteStore(path: harness.path)
    try store.migrate()
    leases = LeaseKeeper(outbox: store, duration: 6, now: { Date() })
  }

  /// A clock that is ahead by more than the delay before a job starts, so that a job that was just added is due.
  private static let whenJobsAreDue: @Sendable () -> Date = { Date().addingTimeInterval(1) }

  /// Adds a job as a request does, and returns whether it was leased to this process.
  private func add(_ address: String) async throws -> Bool {
    let new = leases.makeJob(.resetRequest(.email(address)), locale: "en", requestID: "r")
    leases.start(new, try await store.enqueue(new, audit: AuditRecord(.requested)))
    return new.owner != nil
  }

  @Test func `leases no new job unless a worker runs`() async throws {
    #expect(try await add("a@example.com") == false)
  }

  @Test func `passes new jobs to the worker in memory, up to its limit`() async throws {
    _ = leases.takeCommitted(limit: 2)
    _ = try await leases.claim(limit: 2, pollInterval: 60)
    #expect(try await add("a@example.com"))
    #expect(try await add("b@example.com"))
    #expect(try await add("c@example.com") == false)
    let jobs = leases.takeCommitted(limit: 2)
    #expect(jobs.map(\.kind) == [.resetRequest(.email("a@example.com")), .resetRequest(.email("b@example.com"))])
    for job in jobs { #expect(await leases.isHeld(job)) }
    // The third waits for a claim, like a job of another process.
    #expect(try await store.claim(.email, limit: 5, owner: "other", at: Date().addingTimeInterval(1), leaseEnd: Date()).count == 1)
  }

  @Test func `lets no new job overtake one that waits`() async throws {
    _ = leases.takeCommitted(limit: 1)
    _ = try await leases.claim(limit: 1, pollInterval: 60)
    #expect(try await add("first@example.com"))
    #expect(try await add("second@example.com") == false)
    try await eventually("the second job to be due") { leases.nextClaim <= Date() }
    // The first is done, so there is room again; the second has a right to it.
    let first = try #require(leases.takeCommitted(limit: 1).first)
    #expect(try await leases.finish(first, .done(AuditRecord(.noAccount))))
    #expect(try await add("third@example.com") == false)
    #expect(try await leases.claim(limit: 1, pollInterval: 60).map(\.kind) == [.resetRequest(.email("second@example.com"))])
  }

  @Test func `ends the lease of a job that was not committed`() async throws {
    _ = leases.takeCommitted(limit: 1)
    _ = try await leases.claim(limit: 1, pollInterval: 60)
    let new = leases.makeJob(.resetRequest(.email("a@example.com")), locale: "en", requestID: "r")
    leases.cancel(new)
    #expect(new.owner != nil && leases.heldOrReserved == 0)
    #expect(try await add("b@example.com"))
  }

  @Test func `has its worker sleep for no longer than between two polls, even if the clock was set back`() async {
    let slept = Mutex<[Duration]>([])
    var alarm = WorkerAlarm(WorkerWakeup(), on: BackgroundExecutor(threads: 1)) { duration in slept.withLock { $0.append(duration) } }
    let now = Date()
    // The worker calculated this time, and then the clock was set back by a day.
    await alarm.wait(until: now.addingTimeInterval(86_402), atMost: 5, now: now)
    #expect(slept.withLock { $0 } == [.seconds(5)])
  }

  @Test func `notices that a job was added with a time from before the clock was set back`() async throws {
    let clock = TestClock()
    let leases = LeaseKeeper(outbox: store, duration: 6, now: { clock.now })
    let new = leases.makeJob(.resetRequest(.email("a@example.com")), locale: "en", requestID: "r")
    clock.advance(by: -3600)
    #expect(leases.clockWasSetBack())
    #expect(!leases.clockWasSetBack())
    leases.start(new, try await store.enqueue(new, audit: AuditRecord(.requested)))
    #expect(leases.clockWasSetBack())
  }

  @Test func `notices that a job was to start at a time from before the clock was set back`() async throws {
    let clock = TestClock()
    let leases = LeaseKeeper(outbox: store, duration: 6, now: { clock.now })
    let new = leases.makeJob(.resetRequest(.email("a@example.com")), locale: "en", requestID: "r")
    let job = try await store.enqueue(new, audit: AuditRecord(.requested))
    // The machine was suspended for a day during the commit.
    clock.advance(by: 86400)
    leases.start(new, job)
    clock.advance(by: -3600)
    #expect(leases.clockWasSetBack())
  }

  @Test func `asks the store about the leases from before the clock was set back`() async throws {
    let clock = TestClock()
    let leases = LeaseKeeper(outbox: store, duration: 6, now: { clock.now })
    #expect(try await add("a@example.com") == false)
    clock.advance(by: 1)
    let job = try #require(try await leases.claim(limit: 1, pollInterval: 60).first)
    clock.advance(by: -3600)
    #expect(leases.clockWasSetBack())
    // The clock is right again after another process has corrected the end of the lease by it, and has claimed the job.
    _ = try await store.correctTimes(.email, lease: 6, longestWait: .zero) { clock.now }
    clock.advance(by: 3600)
    let claimed = try await store.claim(.email, limit: 1, owner: "other", at: clock.now, leaseEnd: clock.now.addingTimeInterval(60))
    #expect(claimed.map(\.id) == [job.id])
    #expect(await leases.isHeld(job) == false)
  }

  @Test func `does not pass a job in memory that was claimed before its commit was known`() async throws {
    let clock = TestClock()
    let leases = LeaseKeeper(outbox: store, duration: 6, now: { clock.now })
    _ = leases.takeCommitted(limit: 2)
    _ = try await leases.claim(limit: 2, pollInterval: 60)
    let new = leases.makeJob(.resetRequest(.email("a@example.com")), locale: "en", requestID: "r")
    let job = try await store.enqueue(new, audit: AuditRecord(.requested))
    // The machine was suspended for longer than the lease.
    clock.advance(by: 60)
    #expect(new.owner != nil)
    #expect(try await leases.claim(limit: 2, pollInterval: 60).map(\.id) == [job.id])
    leases.start(new, job)
    #expect(leases.takeCommitted(limit: 2).isEmpty)
    #expect(await leases.isHeld(job))
    #expect(leases.heldOrReserved == 1)
  }

  @Test func `releases a job whose handling failed as soon as the store works again`() async throws {
    _ = leases.takeCommitted(limit: 1)
    _ = try await leases.claim(limit: 1, pollInterval: 60)
    #expect(try await add("a@example.com"))
    let job = try #require(leases.takeCommitted(limit: 1).first)
    leases.abandon(job)
    #expect(await leases.isHeld(job) == false)
    try await leases.extend()
    #expect(try await leases.claim(limit: 1, pollInterval: 60).map(\.id) == [job.id])
  }

  @Test func `does not release a job that it has claimed again`() async throws {
    let lossy = LossyStore(store: store)
    let keeper = LeaseKeeper(outbox: lossy, duration: 6, now: Self.whenJobsAreDue)
    #expect(try await add("a@example.com") == false)
    let job = try #require(try await keeper.claim(limit: 5, pollInterval: 60).first)
    keeper.abandon(job)
    // The job is released, but the keeper does not learn that.
    await #expect(throws: StoreError.self) { try await keeper.extend() }
    #expect(try await keeper.claim(limit: 5, pollInterval: 60).map(\.id) == [job.id])
    lossy.losesReplies.withLock { $0 = false }
    try await keeper.extend()
    #expect(try await store.claim(.email, limit: 5, owner: "other", at: Self.whenJobsAreDue(), leaseEnd: Date()).isEmpty)
  }

  @Test func `keeps what it claimed although the store cannot say what is due next`() async throws {
    #expect(try await add("a@example.com") == false)
    let keeper = LeaseKeeper(outbox: ForgetfulStore(store: store), duration: 6, now: Self.whenJobsAreDue)
    let job = try #require(try await keeper.claim(limit: 5, pollInterval: 60).first)
    #expect(await keeper.isHeld(job) && keeper.heldOrReserved == 1)
  }

  @Test func `asks the store before it sends the email of a job whose first handling ended during a claim`() async throws {
    #expect(try await add("a@example.com") == false)
    let pausing = PausingStore(store: store)
    let keeper = LeaseKeeper(outbox: pausing, duration: 6, now: Self.whenJobsAreDue)
    let first = try #require(try await keeper.claim(limit: 5, pollInterval: 60).first)
    // An operator retries the job, so the next claim takes it again; while that is under way, the first handling ends.
    _ = try await store.retryOutbox(.ids([first.id]), at: Date().addingTimeInterval(-1))
    pausing.afterClaim { _ = try? await keeper.finish(first, .done(AuditRecord(.mailed))) }
    let again = try await keeper.claim(limit: 5, pollInterval: 60)
    #expect(again.map(\.id) == [first.id])
    #expect(await keeper.isHeld(again[0]) == false)
  }
}

/// A store that cannot read when the next job is due.
private struct ForgetfulStore: WrappedOutboxStore {
  let store: SQLiteStore

  func nextDue(_ channel: JobChannel, owner: String) async throws(StoreError) -> Date? { throw .unavailable(reason: "no reader") }
}

/// A store that releases jobs, and whose replies to that are lost.
private final class LossyStore: WrappedOutboxStore {
  let store: SQLiteStore
  let losesReplies = Mutex(true)

  init(store: SQLiteStore) { self.store = store }

  func release(_ ids: [Int64], owner: String) async throws(StoreError) {
    try await store.release(ids, owner: owner)
    if losesReplies.withLock(\.self) { throw .unavailable(reason: "the reply was lost") }
  }
}

/// A store that runs a test's work between the commit of a claim and its return.
private final class PausingStore: WrappedOutboxStore {
  let store: SQLiteStore
  private let work = Mutex<@Sendable () async -> Void>({})

  init(store: SQLiteStore) { self.store = store }

  func afterClaim(_ work: @escaping @Sendable () async -> Void) { self.work.withLock { $0 = work } }

  func claim(_ channel: JobChannel, limit: Int, owner: String, at now: Date, leaseEnd: Date) async throws(StoreError) -> [Job] {
    let jobs = try await store.claim(channel, limit: limit, owner: owner, at: now, leaseEnd: leaseEnd)
    await work.withLock { $0 }()
    return jobs
  }
}

/// An outbox that passes everything on to a real one.
protocol WrappedOutboxStore: OutboxStore {
  var store: SQLiteStore { get }
}

extension WrappedOutboxStore {
  func enqueue(_ job: NewJob, audit: AuditRecord) async throws(StoreError) -> Job { try await store.enqueue(job, audit: audit) }

  func claim(_ channel: JobChannel, limit: Int, owner: String, at now: Date, leaseEnd: Date) async throws(StoreError) -> [Job] {
    try await store.claim(channel, limit: limit, owner: owner, at: now, leaseEnd: leaseEnd)
  }

  func extendLeases(of ids: [Int64], owner: String, to leaseEnd: Date) async throws(StoreError) -> Set<Int64> {
    try await store.extendLeases(of: ids, owner: owner, to: leaseEnd)
  }

  func release(_ ids: [Int64], owner: String) async throws(StoreError) { try await store.release(ids, owner: owner) }

  func finish(_ job: Job, owner: String, _ outcome: JobOutcome, adding jobs: [NewJob], at now: Date) async throws(StoreError) -> Bool {
    try await store.finish(job, owner: owner, outcome, adding: jobs, at: now)
  }

  func correctTimes(_ channel: JobChannel, lease: TimeInterval, longestWait: OutboxWait, now: @escaping @Sendable () -> Date)
    async throws(StoreError) -> Int
  {
    try await store.correctTimes(channel, lease: lease, longestWait: longestWait, now: now)
  }

  func purgeDeadLetters(before date: Date, limit: Int) async throws(StoreError) -> Int {
    try await store.purgeDeadLetters(before: date, limit: limit)
  }

  func nextDue(_ channel: JobChannel, owner: String) async throws(StoreError) -> Date? { try await store.nextDue(channel, owner: owner) }

  func lastRetry(_ channel: JobChannel) async throws(StoreError) -> Date? { try await store.lastRetry(channel) }

  func reserve(_ email: EmailReservation, now: @escaping @Sendable () -> Date) async throws(StoreError) -> EmailAllowance {
    try await store.reserve(email, now: now)
  }
}
