import Credentials
import Foundation
import PasswordReset

/// The store as one process uses it: calls take time and fail, and end with the process. What is committed is reported to the ledger.
struct FaultyStore: OutboxStore, UserStore {
  private enum Fault {
    case none, failure, lostReply
    case delay(before: Double, after: Double)
  }

  let store: SimulatedStore
  let world: World
  let process: ProcessState

  /// Makes a call with the faults that the schedule draws.
  /// - Parameter commit: reads or writes; nothing happens in between.
  private func call<Value: Sendable>(_ name: String, _ commit: () async throws(StoreError) -> Value) async throws(StoreError) -> Value {
    guard process.isAlive else { throw Self.gone }
    let fault = drawFault()
    await world.park()
    if case .delay(let before, _) = fault { await stall(before) }
    // A request that is on its way when the process dies may arrive.
    guard process.isAlive || world.random.chance(0.5) else { throw Self.gone }
    if case .failure = fault {
      world.log("p\(process.id) \(name) fails")
      throw .unavailable(reason: "simulated")
    }
    let value = try await commit()
    world.log("p\(process.id) \(name)")
    await world.park()
    if case .delay(_, let after) = fault {
      await stall(after)
      // The lease is checked between the reading of the user and the email.
      if name.hasPrefix("user") || name.hasPrefix("extend") { world.ledger.slowCheck[process.id] = world.ledger.event }
    }
    guard process.isAlive else { throw Self.gone }
    if case .lostReply = fault {
      world.log("p\(process.id) \(name) lost its reply")
      throw .unavailable(reason: "simulated, outcome unknown")
    }
    return value
  }

  /// Waits. A worker in this call does nothing else, such as extending its leases.
  private func stall(_ seconds: Double) async {
    world.ledger.slowCalls[process.id, default: 0] += 1
    await world.pause(seconds)
    world.ledger.slowCalls[process.id, default: 0] -= 1
    world.ledger.fault(of: process.id)
  }

  private static let gone = StoreError.unavailable(reason: "the process is gone")

  private func drawFault() -> Fault {
    guard world.hasFaults else { return .none }
    var fault = Fault.none
    if world.random.chance(world.plan.storeFailure) {
      fault = .failure
    } else if world.random.chance(world.plan.storeLostReply) {
      fault = .lostReply
    } else if world.random.chance(world.plan.storeDelay) {
      fault = .delay(before: world.random.number(in: 0...8), after: world.random.number(in: 0...8))
    } else {
      return .none
    }
    world.ledger.fault(of: process.id)
    return fault
  }

  // MARK: - The outbox

  func enqueue(_ job: NewJob, audit: AuditRecord) async throws(StoreError) -> Job {
    noteOwner(job.owner, job.kind.channel)
    return try await call("enqueue \(job.requestID)") { () async throws(StoreError) in
      let added = try await store.run(in: world) { store async throws(StoreError) in try await store.enqueue(job, audit: audit) }
      world.ledger.added(added, job)
      return added
    }
  }

  func claim(_ channel: JobChannel, limit: Int, owner: String, at now: Date, leaseEnd: Date) async throws(StoreError) -> [Job] {
    noteOwner(owner, channel)
    return try await call("claim \(channel)") { () async throws(StoreError) in
      let jobs = try await store.run(in: world) { store async throws(StoreError) in
        try await store.claim(channel, limit: limit, owner: owner, at: now, leaseEnd: leaseEnd)
      }
      if !jobs.isEmpty { world.log("p\(process.id) claimed \(jobs.map(\.id)) for \(leaseEnd.timeIntervalSince(world.now)) s") }
      if abs(world.now.timeIntervalSince(now)) > 1 { world.ledger.lateClaims.formUnion(jobs.map(\.requestID)) }
      world.ledger.claimed(jobs, owner: owner, at: now, leaseEnd: leaseEnd)
      return jobs
    }
  }

  func extendLeases(of ids: [Int64], owner: String, to leaseEnd: Date) async throws(StoreError) -> Set<Int64> {
    try await call("extend \(ids.sorted())") { () async throws(StoreError) in
      let extended = try await store.run(in: world) { store async throws(StoreError) in
        try await store.extendLeases(of: ids, owner: owner, to: leaseEnd)
      }
      world.ledger.extended(ids, extended, owner: owner, to: leaseEnd)
      return extended
    }
  }

  func release(_ ids: [Int64], owner: String) async throws(StoreError) {
    try await call("release \(ids)") { () async throws(StoreError) in
      try await store.run(in: world) { store async throws(StoreError) in try await store.release(ids, owner: owner) }
      world.ledger.released(ids, owner: owner)
    }
  }

  func finish(_ job: Job, owner: String, _ outcome: JobOutcome, adding jobs: [NewJob], at now: Date) async throws(StoreError) -> Bool {
    checkRetry(outcome, job, at: now)
    return try await call("finish \(job.id) \(outcome.name)") { () async throws(StoreError) in
      let last = world.ledger.lastJob
      let (isRecorded, rows) = try await store.run(in: world) { store async throws(StoreError) in
        (
          try await store.finish(job, owner: owner, outcome, adding: jobs, at: now),
          try await store.outboxRows(after: last, limit: 100, deadLettersOnly: false)
        )
      }
      world.ledger.finished(job, owner: owner, outcome, jobs, at: now, isRecorded: isRecorded, rows)
      return isRecorded
    }
  }

  func purgeDeadLetters(before date: Date, limit: Int) async throws(StoreError) -> Int {
    try await call("purge") { () async throws(StoreError) in
      let count = try await store.run(in: world) { store async throws(StoreError) in try await store.purgeDeadLetters(before: date, limit: limit) }
      world.ledger.purged(before: date)
      return count
    }
  }

  func correctTimes(_ channel: JobChannel, lease: TimeInterval, longestWait: OutboxWait, now: @escaping @Sendable () -> Date)
    async throws(StoreError) -> Int
  {
    try await call("correct \(channel)") { () async throws(StoreError) in
      let count = try await store.run(in: world) { store async throws(StoreError) in
        try await store.correctTimes(channel, lease: lease, longestWait: longestWait, now: now)
      }
      world.ledger.correctedTimes(channel, at: now(), leaseEnd: now().addingTimeInterval(lease), longestWait)
      return count
    }
  }

  func nextDue(_ channel: JobChannel, owner: String) async throws(StoreError) -> Date? {
    try await call("next \(channel)") { () async throws(StoreError) in
      try await store.run(in: world) { store async throws(StoreError) in try await store.nextDue(channel, owner: owner) }
    }
  }

  func lastRetry(_ channel: JobChannel) async throws(StoreError) -> Date? {
    try await call("retries \(channel)") { () async throws(StoreError) in
      try await store.run(in: world) { store async throws(StoreError) in try await store.lastRetry(channel) }
    }
  }

  func reserve(_ email: EmailReservation, now: @escaping @Sendable () -> Date) async throws(StoreError) -> EmailAllowance {
    try await call("reserve \(email.requestID)") { () async throws(StoreError) in
      let allowance = try await store.run(in: world) { store async throws(StoreError) in try await store.reserve(email, now: now) }
      world.ledger.reserved(email, allowance, at: now())
      return allowance
    }
  }

  private func noteOwner(_ owner: String?, _ channel: JobChannel) {
    if let owner { world.ledger.owners[process.id, default: [:]][channel] = owner }
  }

  /// Checks the wait before the next attempt, when its outcome is first recorded.
  private func checkRetry(_ outcome: JobOutcome, _ job: Job, at now: Date) {
    guard case .retry(let date, let reason) = outcome, process.checkedRetries.insert([job.id, Int64(job.attempts)]).inserted, !world.plan.interrupts,
      world.ledger.lastClockChange == 0
    else { return }
    let policy = world.plan.policy
    let wait = date.timeIntervalSince(now)
    let longest = reason.hasPrefix("outage") ? policy.maxProbeInterval : policy.maxBackoff
    var range = 0.5...1.5
    if reason.hasPrefix("RATE_LIMIT") {
      // If the store or the machine stood still meanwhile, the time has passed.
      range = -.infinity...Double(policy.totalEmailLimits.map(\.seconds).max() ?? 0) + 90
    } else {
      let typical = min(policy.initialBackoff * pow(2, Double(min(job.attempts, 30) - 1)), longest)
      let asked = reason.hasSuffix("asks") ? ReceiverBackend.retryAfter : 0
      range = max(typical * 0.5, asked)...max(typical * 1.5, asked)
    }
    if wait < range.lowerBound - 0.01 || wait > range.upperBound + 0.01 {
      world.ledger.violate("job \(job.id) waits \(wait) s after attempt \(job.attempts) (\(reason)), not \(range)")
    }
  }

  // MARK: - The users

  var hasUsernames: Bool { true }

  var linkFormat: LinkFormat { .django }

  func userID(_ text: String) -> UserID? { store.store.userID(text) }

  func users(matching identifier: AccountIdentifier) async throws(StoreError) -> [User] {
    try await call("users") { () async throws(StoreError) in
      let users = try await store.run(in: world) { store async throws(StoreError) in try await store.users(matching: identifier) }
      for user in users { note(user) }
      return users
    }
  }

  func damagedUser(matching identifier: AccountIdentifier) async throws(StoreError) -> UserID? { nil }

  func user(id: UserID) async throws(StoreError) -> User? {
    try await call("user \(id)") { () async throws(StoreError) in
      let user = try await store.run(in: world) { store async throws(StoreError) in try await store.user(id: id) }
      if let user { note(user) }
      return user
    }
  }

  private func note(_ user: User) {
    let reading = Ledger.Reading(email: user.email, elapsed: world.elapsed, event: world.ledger.next())
    world.ledger.readings[process.id, default: [:]][user.id, default: []].append(reading)
    if let account = world.ledger.accounts[user.id], account.email != user.email {
      world.ledger.violate("user \(user.id) was read with the address \(user.email) instead of \(account.email)")
    }
  }

  func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> [Job]? {
    for job in change.jobs { noteOwner(job.owner, job.kind.channel) }
    return try await call("set password \(change.requestID)") { () async throws(StoreError) in
      let last = world.ledger.lastJob
      let (jobs, rows) = try await store.run(in: world) { store async throws(StoreError) in
        (try await store.setPassword(change, at: now), try await store.outboxRows(after: last, limit: 100, deadLettersOnly: false))
      }
      world.ledger.changed(change, jobs != nil, rows)
      return jobs
    }
  }

  func cancelLinks(_ cancellation: LinkCancellation, at now: Date) async throws(StoreError) -> [Job] {
    for job in cancellation.jobs { noteOwner(job.owner, job.kind.channel) }
    return try await call("cancel \(cancellation.requestID)") { () async throws(StoreError) in
      let last = world.ledger.lastJob
      let (jobs, rows) = try await store.run(in: world) { store async throws(StoreError) in
        (try await store.cancelLinks(cancellation, at: now), try await store.outboxRows(after: last, limit: 100, deadLettersOnly: false))
      }
      world.ledger.added(rows, expecting: cancellation.jobs, "request \(cancellation.requestID)")
      return jobs
    }
  }

  // No rule of the simulation needs former passwords.
  func formerPasswords(of id: UserID, limit: Int) async throws(StoreError) -> [String] { [] }

  func usersWithFormerPasswords(after id: UserID?, limit: Int) async throws(StoreError) -> [UserID] { [] }

  func deleteFormerPasswords(of id: UserID) async throws(StoreError) {}
}

extension JobOutcome {
  var name: String {
    switch self {
    case .done(let audit): audit.map { $0.event.rawValue } ?? "sent"
    case .split(let users, _): "split \(users)"
    case .release: "release"
    case .retry(_, let reason): "retry (\(reason))"
    case .deadLetter(let reason, _): "dead (\(reason))"
    }
  }
}
