import Credentials
import Foundation
import PasswordReset

/// What the checker knows about a schedule: a copy of the outbox that only sees what was committed, what was sent, and what excuses
/// a duplicate. It records where the promises are broken.
struct Ledger {
  /// How a job ended.
  enum Fate: Equatable {
    case sent, noAccount, suppressed, split([Int64]), discarded, purged
  }

  struct Request {
    var identifier: AccountIdentifier
    var isAccepted = false
    var job: Int64?
  }

  struct Delivery {
    var process: Int
    var start: Int
    /// Whether the sender did not learn that the email was accepted.
    var isUnknown: Bool
  }

  struct Account {
    var username: String
    var email: String
    var isUsable = true
  }

  /// When a process read a user, and the address that it got.
  struct Reading {
    var email: String
    var elapsed: Double
    var event: Int
  }

  private(set) var violations: [String] = []
  /// Counts the events, to say which one came first.
  private(set) var event = 0

  var requests: [String: Request] = [:]
  /// The outbox as it was committed, dead letters included.
  var jobs: [Int64: MemoryStore.Record] = [:]
  var lastJob: Int64 = 0
  /// The events since which processes may be handling jobs, by the job and the owner of its lease.
  private var handledSince: [Int64: [String: Int]] = [:]
  var fates: [Int64: Fate] = [:]
  var owners: [Int: [JobChannel: String]] = [:]
  var accounts: [UserID: Account] = [:]
  var readings: [Int: [UserID: [Reading]]] = [:]
  /// Passwords that were changed, by the request: the user's address then.
  var changes: [String: (user: UserID, email: String)] = [:]
  /// The tokens that clients use, by the request.
  var tokens: [String: String] = [:]
  var usedTokens: Set<String> = []
  /// The granted emails by their address's key, each with the time of its first attempt.
  var granted: [String: [(request: String, user: UserID, at: Date)]] = [:]
  /// Emails and webhooks that were delivered.
  var deliveries: [String: Delivery] = [:]
  var permanentRefusals: Set<String> = []
  var sendCount = 0
  var duplicateCount = 0

  // What excuses a duplicate, by the event.
  private(set) var lastFault: [Int: Int] = [:]
  private(set) var lastLeap = 0
  /// When the last checks before an email last took long.
  var slowCheck: [Int: Int] = [:]
  /// How many calls of the store a process waits for that take long.
  var slowCalls: [Int: Int] = [:]
  private(set) var lastClockChange = 0
  /// The seconds from the start to the last change of the clock.
  private(set) var clockChangedAt = -Double.infinity
  /// The requests whose jobs were claimed with a time from before a change of the clock, maybe from a process that held them.
  var lateClaims: Set<String> = []
  /// The webhooks with several jobs.
  private(set) var repeatedReports: Set<String> = []
  private var lastUserChange = 0
  private(set) var retried: [String: Int] = [:]

  mutating func violate(_ text: String) { if violations.count < 20 { violations.append(text) } }

  mutating func next() -> Int {
    event += 1
    return event
  }

  mutating func fault(of process: Int) { lastFault[process] = next() }
  mutating func leaped() { lastLeap = next() }
  mutating func clockChanged(at elapsed: Double) { (lastClockChange, clockChangedAt) = (next(), elapsed) }

  mutating func usersChanged(_ change: (inout [UserID: Account]) -> Void) {
    lastUserChange = next()
    change(&accounts)
  }

  /// The jobs that are neither done nor dead letters.
  var waiting: [MemoryStore.Record] { jobs.values.filter { $0.deadLetteredAt == nil } }

  // MARK: - The outbox

  mutating func added(_ job: Job, _ new: NewJob) {
    lastJob = max(lastJob, job.id)
    if case .webhook(_, _, let id) = new.kind, jobs.values.contains(where: { $0.kind.webhookID == id }) { repeated(id, new.requestID) }
    if let owner = new.owner { handledSince[job.id, default: [:]][owner] = next() }
    jobs[job.id] = MemoryStore.Record(
      id: job.id, kind: new.kind, locale: new.locale, requestID: new.requestID, createdAt: new.createdAt.milliseconds, dueAt: new.due.milliseconds,
      owner: new.owner, attempts: new.owner == nil ? 0 : 1)
    if case .resetRequest = new.kind { requests[new.requestID]?.job = job.id }
  }

  /// Compares the rows that a transaction has added with those that it should have added.
  mutating func added(_ rows: [OutboxRow], expecting jobs: [NewJob], _ context: String) {
    lastJob = max(lastJob, rows.last?.id ?? 0)
    let kinds = rows.map { JobKind(kind: $0.kind, identifier: $0.identifier, userID: $0.userID) }
    guard kinds == jobs.map(\.kind) else { return violate("\(context): \(kinds.count) jobs were added instead of \(jobs.count), or others") }
    for (row, new) in zip(rows, jobs) {
      added(
        Job(
          id: row.id, kind: new.kind, locale: new.locale, requestID: new.requestID, createdAt: new.createdAt, ttlStart: new.createdAt, attempts: 0),
        new)
    }
  }

  /// A job becomes a dead letter twice, with the same report, if the clock was set back or an operator retried it while the reply was on its way.
  private mutating func repeated(_ webhookID: String, _ requestID: String) {
    if lastClockChange == 0, retried[requestID] == nil { violate("\(webhookID) was added twice") }
    repeatedReports.insert(webhookID)
  }

  mutating func claimed(_ claimed: [Job], owner: String, at now: Date, leaseEnd: Date) {
    for job in claimed {
      guard var record = jobs[job.id], record.deadLetteredAt == nil else {
        violate("job \(job.id) was claimed although it is done or a dead letter")
        continue
      }
      if record.dueAt > now.milliseconds {
        let reason = record.owner == nil ? "before it was due" : "while another process held it"
        violate("job \(job.id) was claimed \(record.dueAt - now.milliseconds) ms early, \(reason)")
      }
      if record.owner == owner, record.dueAt > now.addingTimeInterval(-MemoryStore.orphanAge).milliseconds {
        violate("job \(job.id) was claimed by its owner")
      }
      (record.owner, record.dueAt, record.attempts) = (owner, leaseEnd.milliseconds, record.attempts + 1)
      let expected = record.job
      if (expected.attempts, expected.ttlStart, expected.kind) != (job.attempts, job.ttlStart, job.kind) {
        violate("job \(job.id) was claimed as \(job), not as \(expected)")
      }
      // A process that claims the job again may still be handling it.
      if handledSince[job.id]?[owner] == nil { handledSince[job.id, default: [:]][owner] = next() }
      jobs[job.id] = record
    }
  }

  mutating func extended(_ ids: [Int64], _ extended: Set<Int64>, owner: String, to end: Date) {
    for id in ids {
      let isHeld = isHeld(id, by: owner)
      if isHeld != extended.contains(id) { violate("job \(id): a lease was \(isHeld ? "not " : "")extended") }
      guard isHeld, let due = jobs[id]?.dueAt else { continue }
      jobs[id]?.dueAt = max(due, end.milliseconds)
    }
  }

  mutating func released(_ ids: [Int64], owner: String) {
    for id in ids where jobs[id]?.owner == owner { release(id) }
    for id in ids { handledSince[id]?[owner] = nil }
  }

  private mutating func release(_ id: Int64) {
    guard var record = jobs[id] else { return }
    (record.owner, record.dueAt, record.attempts) = (nil, record.createdAt, max(0, record.attempts - 1))
    jobs[id] = record
  }

  private func isHeld(_ id: Int64, by owner: String) -> Bool { jobs[id].map { $0.owner == owner && $0.deadLetteredAt == nil } ?? false }

  mutating func finished(_ job: Job, owner: String, _ outcome: JobOutcome, _ following: [NewJob], at now: Date, isRecorded: Bool, _ rows: [OutboxRow])
  {
    let isHeld = isHeld(job.id, by: owner)
    if isRecorded != (isHeld || jobs[job.id] != nil && outcome.isSent) {
      violate("job \(job.id): an outcome was \(isRecorded ? "recorded without the lease" : "not recorded")")
    }
    defer { handledSince[job.id]?[owner] = nil }
    guard isRecorded, let record = jobs[job.id] else { return }
    checkReports(outcome, job, following)
    var children: [NewJob] = []
    switch outcome {
    case .done(let audit):
      jobs[job.id] = nil
      fates[job.id] = fate(audit, record)
    case .split(let users, _):
      jobs[job.id] = nil
      children = users.map { user in
        let kind = JobKind.resetEmail(userID: user, requested: job.kind.requestedAddress)
        return NewJob(kind, locale: job.locale, requestID: job.requestID, createdAt: job.createdAt, due: now)
      }
      checkSplit(users, record)
      fates[job.id] = .split(rows.prefix(users.count).map(\.id))
    case .release: release(job.id)
    case .retry(let date, let reason):
      jobs[job.id]?.owner = nil
      jobs[job.id]?.dueAt = date.milliseconds
      jobs[job.id]?.lastError = reason
    case .deadLetter(let reason, let audit):
      checkDeadLetter(reason, record, audit?.userID, at: now)
      jobs[job.id]?.owner = nil
      jobs[job.id]?.deadLetteredAt = now.milliseconds
      jobs[job.id]?.lastError = reason
    }
    added(rows, expecting: children + following, "job \(job.id)")
  }

  /// An event is reported by a webhook exactly if it happened.
  private mutating func checkReports(_ outcome: JobOutcome, _ job: Job, _ following: [NewJob]) {
    var expected: [WebhookEvent] = []
    if job.kind.channel == .email {
      if case .deadLetter = outcome { expected = [.mailFailed] }
      if outcome.isSent { if case .changedNotice = job.kind {} else { expected = [.requested] } }
    }
    let events = following.map { new in if case .webhook(let event, _, _) = new.kind { event } else { WebhookEvent.linkPrinted } }
    if events != expected { violate("job \(job.id): \(events) follow instead of \(expected)") }
  }

  /// How an email's or a webhook's job ended, if that is how it may end.
  private mutating func fate(_ audit: AuditRecord?, _ record: MemoryStore.Record) -> Fate {
    if case .webhook(_, _, let messageID) = record.kind {
      if audit != nil || deliveries[messageID] == nil { violate("job \(record.id) is done, and its webhook was not sent") }
      return .sent
    }
    switch audit?.event {
    case .mailed:
      let key = Self.key(record.kind, record.requestID, audit?.userID ?? UserID(0))
      if deliveries[key] == nil { violate("job \(record.id) is done, and its email was not sent") }
      return .sent
    case .noAccount:
      if !mayHaveChanged(record), case let users = recipients(of: record.kind), !users.isEmpty {
        violate("job \(record.id) has no account, but there is \(users)")
      }
      return .noAccount
    default: return .suppressed
    }
  }

  /// A job becomes a dead letter if it was refused permanently, or if the next attempt would be more than a day after the request.
  private mutating func checkDeadLetter(_ reason: String, _ record: MemoryStore.Record, _ user: UserID?, at now: Date) {
    let key = Self.key(record.kind, record.requestID, user ?? UserID(0))
    if reason == "refused" {
      if !permanentRefusals.contains(key) { violate("job \(record.id) is a dead letter and was not refused") }
      return
    }
    // An operator's retry starts the time again, which the worker that handles the job does not see.
    guard lastClockChange == 0, retried[record.requestID] == nil else { return }
    let age = now.timeIntervalSince(record.job.ttlStart)
    if age < OutboxPolicy().timeToLive - Self.longestWait { violate("job \(record.id) became a dead letter after \(age) s: \(reason)") }
  }

  /// The longest wait before an attempt, with its random part, in seconds: for an email that waits for the limit of an hour, or for its turn.
  private static let longestWait: Double = 3600 + 1000

  private mutating func checkSplit(_ users: [UserID], _ record: MemoryStore.Record) {
    guard !mayHaveChanged(record) else { return }
    let all = recipients(of: record.kind)
    if users != Array(all.prefix(users.count)) || all.count < 2 { violate("job \(record.id) was split into \(users), not \(all)") }
  }

  /// Whether a user has changed since the owner of the lease may have read it.
  private func mayHaveChanged(_ record: MemoryStore.Record) -> Bool {
    lastUserChange > record.owner.flatMap { handledSince[record.id]?[$0] } ?? 0
  }

  /// Returns who should get an email for a job.
  private func recipients(of kind: JobKind) -> [UserID] {
    func isUsable(_ id: UserID) -> Bool { accounts[id].map { $0.isUsable && !$0.email.isEmpty } ?? false }
    let ids = accounts.keys.sorted { $0.integer ?? 0 < $1.integer ?? 0 }
    switch kind {
    case .resetRequest(.email(let address)): return ids.filter { isUsable($0) && accounts[$0]?.email.lowercased() == address.lowercased() }
    case .resetRequest(.username(let name)): return ids.filter { isUsable($0) && accounts[$0]?.username == name }
    case .resetEmail(let id, let address):
      return isUsable(id) && address.map({ $0.lowercased() == accounts[id]?.email.lowercased() }) != false ? [id] : []
    case .changedNotice(let id, _): return accounts[id] == nil ? [] : [id]
    case .webhook: return []
    }
  }

  mutating func correctedTimes(_ channel: JobChannel, at now: Date, leaseEnd: Date, _ wait: OutboxWait) {
    for id in jobs.keys where jobs[id]?.kind.channel == channel {
      _ = jobs[id]?.correct(at: now.milliseconds, leaseEnd: leaseEnd.milliseconds, wait)
    }
  }

  mutating func purged(before date: Date) {
    for (id, job) in jobs where job.deadLetteredAt.map({ $0 < date.milliseconds }) == true { (jobs[id], fates[id]) = (nil, .purged) }
  }

  // MARK: - The operator

  mutating func retried(_ ids: [Int64], at now: Date) {
    for id in ids {
      guard var record = jobs[id] else { continue }
      (record.deadLetteredAt, record.owner) = (nil, nil)
      (record.retriedAt, record.dueAt) = (now.milliseconds, now.milliseconds)
      jobs[id] = record
      retried[record.requestID] = next()
    }
  }

  mutating func discarded(_ ids: [Int64]) {
    for id in ids {
      guard let record = jobs.removeValue(forKey: id) else { continue }
      fates[id] = .discarded
      retried[record.requestID] = next()
    }
  }

  // MARK: - Passwords

  mutating func changed(_ change: PasswordChange, _ isChanged: Bool, _ rows: [OutboxRow]) {
    added(rows, expecting: isChanged ? change.jobs : [], "request \(change.requestID)")
    guard isChanged else { return }
    changes[change.requestID] = (change.user.id, change.user.email)
    guard let token = tokens[change.requestID] else { return violate("a password was changed without a link") }
    if !usedTokens.insert(token).inserted { violate("a link set two passwords") }
  }

  // MARK: - The end

  /// Checks that each accepted request has an end, given the ids of the rows that the store has.
  mutating func checkEnd(_ ids: Set<Int64>) {
    let lost = Set(jobs.keys).subtracting(ids).sorted()
    if !lost.isEmpty { violate("the store has lost the jobs \(lost)") }
    let extra = ids.subtracting(jobs.keys).sorted()
    if !extra.isEmpty { violate("the store still has the jobs \(extra)") }
    for (id, request) in requests.sorted(by: { $0.key < $1.key }) where request.isAccepted {
      guard let job = request.job else {
        violate("request \(id) was accepted and is not in the outbox")
        continue
      }
      checkEnd(of: job, id)
    }
  }

  private mutating func checkEnd(of job: Int64, _ requestID: String) {
    switch fates[job] {
    case .split(let children)?: for child in children { checkEnd(of: child, requestID) }
    case _?: return
    case nil: if jobs[job]?.deadLetteredAt == nil { violate("request \(requestID) has no end") }
    }
  }
}
