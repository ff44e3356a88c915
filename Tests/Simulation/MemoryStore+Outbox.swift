import Credentials
package import Foundation
package import PasswordReset
import Synchronization

extension MemoryStore: OutboxStore {
  package func enqueue(_ job: NewJob, audit: AuditRecord) async throws(StoreError) -> Job {
    state.withLock { state in
      let added = state.insert(job)
      state.insert(audit, requestID: job.requestID, at: job.createdAt)
      return added
    }
  }

  package func claim(_ channel: JobChannel, limit: Int, owner: String, at now: Date, leaseEnd: Date) async throws(StoreError) -> [Job] {
    let orphaned = now.addingTimeInterval(-Self.orphanAge).milliseconds
    return state.withLock { state in
      let due = state.jobs.indices.filter { index in
        let job = state.jobs[index]
        guard job.deadLetteredAt == nil, job.kind.channel == channel else { return false }
        if defect == .claimsHeldJobs, let other = job.owner, other != owner { return true }
        if defect == .claimsEarly, job.owner == nil { return true }
        return job.dueAt <= now.milliseconds && (job.owner != owner || job.dueAt <= orphaned)
      }
      let chosen = due.sorted { (state.jobs[$0].dueAt, $0) < (state.jobs[$1].dueAt, $1) }.prefix(limit)
      for index in chosen {
        state.jobs[index].owner = owner
        state.jobs[index].dueAt = leaseEnd.milliseconds
        state.jobs[index].attempts += 1
      }
      return chosen.map { state.jobs[$0].job }
    }
  }

  package func extendLeases(of ids: [Int64], owner: String, to leaseEnd: Date) async throws(StoreError) -> Set<Int64> {
    state.withLock { state in
      var extended: Set<Int64> = []
      for index in state.jobs.indices where ids.contains(state.jobs[index].id) && state.isHeld(index, by: owner) {
        state.jobs[index].dueAt = max(state.jobs[index].dueAt, leaseEnd.milliseconds)
        extended.insert(state.jobs[index].id)
      }
      return extended
    }
  }

  package func release(_ ids: [Int64], owner: String) async throws(StoreError) {
    state.withLock { state in
      for index in state.jobs.indices where ids.contains(state.jobs[index].id) && state.jobs[index].owner == owner { state.release(index) }
    }
  }

  package func finish(_ job: Job, owner: String, _ outcome: JobOutcome, adding jobs: [NewJob], at now: Date) async throws(StoreError) -> Bool {
    state.withLock { state in
      guard let index = state.jobs.firstIndex(where: { $0.id == job.id }) else { return false }
      guard state.isHeld(index, by: owner) || outcome.isSent || defect == .acceptsAnyOwner else { return false }
      switch outcome {
      case .done:
        if defect == .keepsSentJobs, outcome.isSent { state.release(index) } else { state.jobs.remove(at: index) }
      case .split(let users, _):
        state.jobs.remove(at: index)
        for user in defect == .dropsAccount ? users.dropLast() : users[...] {
          let kind = JobKind.resetEmail(userID: user, requested: job.kind.requestedAddress)
          _ = state.insert(NewJob(kind, locale: job.locale, requestID: job.requestID, createdAt: job.createdAt, due: now))
        }
      case .release: state.release(index)
      case .retry(let date, let reason):
        state.jobs[index].owner = nil
        state.jobs[index].dueAt = (defect == .forgetsRetryTimes ? now : date).milliseconds
        state.jobs[index].lastError = reason
      case .deadLetter(let reason, _):
        state.jobs[index].owner = nil
        state.jobs[index].deadLetteredAt = now.milliseconds
        state.jobs[index].lastError = reason
        if defect == .deletesDeadLetters { state.jobs.remove(at: index) }
      }
      for job in jobs { _ = state.insert(job) }
      if let audit = outcome.audit { state.insert(audit, requestID: job.requestID, at: now) }
      return true
    }
  }

  package func purgeDeadLetters(before date: Date, limit: Int) async throws(StoreError) -> Int {
    try await purgeOutbox(.deadLetters(before: date), limit: limit)
  }

  package func correctTimes(_ channel: JobChannel, lease: TimeInterval, longestWait: OutboxWait, now: @escaping @Sendable () -> Date)
    async throws(StoreError) -> Int
  {
    state.withLock { state in
      let now = now()
      var count = 0
      for index in state.jobs.indices where state.jobs[index].kind.channel == channel {
        if state.jobs[index].correct(at: now.milliseconds, leaseEnd: now.addingTimeInterval(lease).milliseconds, longestWait) { count += 1 }
      }
      return count
    }
  }

  package func nextDue(_ channel: JobChannel, owner: String) async throws(StoreError) -> Date? {
    state.withLock { state in
      let waiting = state.jobs.filter { $0.deadLetteredAt == nil && $0.kind.channel == channel && $0.owner != owner }
      return waiting.map(\.dueAt).min().map(Date.init(milliseconds:))
    }
  }

  package func lastRetry(_ channel: JobChannel) async throws(StoreError) -> Date? {
    state.withLock { state in
      let waiting = state.jobs.filter { $0.deadLetteredAt == nil && $0.kind.channel == channel }
      return waiting.compactMap(\.retriedAt).max().map(Date.init(milliseconds:))
    }
  }

  package func reserve(_ email: EmailReservation, now: @escaping @Sendable () -> Date) async throws(StoreError) -> EmailAllowance {
    let now = now()
    return state.withLock { state in
      func start(of seconds: Int) -> Int64 { now.addingTimeInterval(-Double(seconds)).milliseconds }
      let (oldest, future) = (start(of: 86400), now.addingTimeInterval(60).milliseconds)
      state.counted.removeAll { $0.at < oldest || $0.at > future }
      let key = email.addressKey ?? ""
      if state.counted.contains(where: { $0.key == key && $0.requestID == email.requestID && $0.userID == email.userID }) { return .granted }
      for limit in email.limits {
        let others = state.counted.filter { $0.key == key && $0.at > start(of: limit.seconds) && $0.requestID != email.requestID }
        if Set(others.map(\.requestID)).count >= limit.count, defect != .forgetsLimits { return .refused }
      }
      let next = email.totalLimits.compactMap { limit -> Date? in
        let times = state.counted.map(\.at).filter { $0 > start(of: limit.seconds) }.sorted(by: >)
        return times.count < limit.count ? nil : Date(milliseconds: times[limit.count - 1]).addingTimeInterval(Double(limit.seconds))
      }.max()
      if let next, defect != .forgetsLimits { return .later(next) }
      state.counted.append(CountedEmail(key: key, requestID: email.requestID, userID: email.userID, at: now.milliseconds))
      return .granted
    }
  }
}

extension MemoryStore.State {
  fileprivate func isHeld(_ index: Int, by owner: String) -> Bool { jobs[index].owner == owner && jobs[index].deadLetteredAt == nil }

  fileprivate mutating func release(_ index: Int) {
    jobs[index].owner = nil
    jobs[index].dueAt = jobs[index].createdAt
    jobs[index].attempts = max(jobs[index].attempts - 1, 0)
  }
}

extension MemoryStore.Record {
  /// Corrects times that a clock that was ahead must have recorded, and returns whether there were any.
  mutating func correct(at now: Int64, leaseEnd: Int64, _ longestWait: OutboxWait) -> Bool {
    let tolerance = MemoryStore.clockTolerance
    let future = now + tolerance
    let wait = min(longestWait.longest, longestWait.first * Double(1 << min(max(attempts, 1) - 1, 20)))
    let isDueTooLate = owner == nil ? dueAt > future + Int64(wait * 1000) : dueAt > leaseEnd + tolerance
    let isDead = deadLetteredAt.map { $0 > future } ?? false
    guard createdAt > future || retriedAt.map({ $0 > future }) == true || isDead || deadLetteredAt == nil && isDueTooLate else { return false }
    createdAt = min(createdAt, now)
    retriedAt = retriedAt.map { min($0, now) }
    if isDead { deadLetteredAt = nil }
    dueAt = min(dueAt, owner == nil ? now : leaseEnd)
    return true
  }
}

extension MemoryStore: OutboxAdmin {
  package func outboxCounts() async throws(StoreError) -> OutboxCounts {
    state.withLock { state in
      let waiting = state.jobs.filter { $0.deadLetteredAt == nil }
      let oldest = waiting.filter { $0.kind.channel == .email }.map(\.createdAt).min()
      return OutboxCounts(waiting: waiting.count, oldest: oldest.map(Date.init(milliseconds:)), dead: state.jobs.count - waiting.count)
    }
  }

  package func outboxRows(after id: Int64?, limit: Int, deadLettersOnly: Bool) async throws(StoreError) -> [OutboxRow] {
    state.withLock { state in
      let rows = state.jobs.filter { $0.id > id ?? .min && (!deadLettersOnly || $0.deadLetteredAt != nil) }
      return rows.prefix(limit).map(\.row)
    }
  }

  package func outboxRow(id: Int64) async throws(StoreError) -> OutboxRow? {
    state.withLock { state in state.jobs.first { $0.id == id }?.row }
  }

  package func retryOutbox(_ selection: OutboxSelection, at now: Date) async throws(StoreError) -> Int {
    state.withLock { state in
      var count = 0
      for index in state.jobs.indices where state.jobs[index].isIn(selection) {
        state.jobs[index].deadLetteredAt = nil
        state.jobs[index].owner = nil
        state.jobs[index].retriedAt = now.milliseconds
        state.jobs[index].dueAt = now.milliseconds
        count += 1
      }
      return count
    }
  }

  package func purgeOutbox(_ selection: OutboxSelection, limit: Int) async throws(StoreError) -> Int {
    state.withLock { state in
      let ids = Set(state.jobs.filter { $0.isIn(selection) }.prefix(limit).map(\.id))
      state.jobs.removeAll { ids.contains($0.id) }
      return ids.count
    }
  }
}

extension MemoryStore.Record {
  fileprivate func isIn(_ selection: OutboxSelection) -> Bool {
    switch selection {
    case .ids(let ids): ids.contains(id)
    case .waiting: deadLetteredAt == nil && owner == nil
    case .deadLetters(let date): deadLetteredAt.map { $0 < date.milliseconds } ?? false
    }
  }

  fileprivate var row: OutboxRow {
    let columns = kind.columns
    var row = OutboxRow(
      id: id, kind: columns.kind, requestID: requestID, createdAt: Date(milliseconds: createdAt), dueAt: Date(milliseconds: dueAt))
    row.identifier = columns.identifier
    row.userID = columns.userID
    row.locale = locale
    row.attempts = attempts
    row.lastError = lastError
    row.deadLetteredAt = deadLetteredAt.map(Date.init(milliseconds:))
    return row
  }
}
