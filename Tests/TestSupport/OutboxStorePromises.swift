import Credentials
import Foundation
import PasswordReset
import Testing

/// The promises of ``OutboxStore``.
public let outboxStorePromises: [StorePromise] = [
  StorePromise("returns a job when it and its audit record are stored") { store in
    let job = try await store.enqueue(.request("alice@example.com", at: start), audit: AuditRecord(.requested, identifierKey: "k"))
    #expect(job.kind == .resetRequest(.email("alice@example.com")) && job.locale == "en" && job.createdAt == start && job.attempts == 0)
    #expect(try await store.outboxRow(id: job.id)?.requestID == "r")
    let audit = try await store.auditRows(AuditFilter(), limit: 10)
    #expect(audit.map(\.event) == ["requested"] && audit.map(\.identifierKey) == ["k"] && audit.map(\.at) == [start])
  },
  StorePromise("leases a job to one owner at a time, and to the next when the lease runs out") { store in
    let due = start.addingTimeInterval(1)
    _ = try await enqueue(store, "alice@example.com", due: due)
    #expect(try await claim(store, "a", at: start).isEmpty)
    #expect(try await store.nextDue(.email, owner: "a") == due)
    let first = try #require(try await claim(store, "a", at: due).first)
    #expect(first.kind == .resetRequest(.email("alice@example.com")) && first.requestID == "r" && first.createdAt == start && first.attempts == 1)
    #expect(try await claim(store, "b", at: due.addingTimeInterval(59)).isEmpty)
    let later = due.addingTimeInterval(60)
    let second = try #require(try await claim(store, "b", at: later).first)
    // The first owner is late: its outcome no longer counts.
    #expect(try await store.finish(first, owner: "a", .done(AuditRecord(.noAccount)), at: later) == false)
    #expect(try await store.extendLeases(of: [first.id], owner: "a", to: later.addingTimeInterval(60)).isEmpty)
    #expect(try await store.extendLeases(of: [second.id], owner: "b", to: later.addingTimeInterval(60)) == [second.id])
    #expect(try await store.nextDue(.email, owner: "a") == later.addingTimeInterval(60))
    #expect(try await store.finish(second, owner: "b", .done(AuditRecord(.mailed)), at: later))
    #expect(try await store.nextDue(.email, owner: "a") == nil)
  },
  StorePromise("leases the jobs that are longest overdue first, and each to one of several owners") { store in
    var ids: [Int64] = []
    for index in 0..<20 { ids.append(try await enqueue(store, due: start.addingTimeInterval(-Double(index))).id) }
    #expect(try await claim(store, "first", at: start, limit: 3).map(\.id).sorted() == Array(ids.suffix(3)))
    let claimed = try await withThrowingTaskGroup(of: [Int64].self) { group in
      for index in 0..<10 { group.addTask { try await claim(store, "owner\(index)", at: start, limit: 5).map(\.id) } }
      return try await group.reduce([], +)
    }
    #expect(claimed.sorted() == ids.dropLast(3).sorted())
  },
  StorePromise("leases a job that no one extends to its owner again, but later than to others") { store in
    let leaseEnd = start.addingTimeInterval(6)
    let job = try await store.enqueue(.request(at: start, due: leaseEnd, owner: "a"), audit: AuditRecord(.requested))
    let orphaned = leaseEnd.addingTimeInterval(type(of: store).orphanAge)
    #expect(try await claim(store, "a", at: orphaned.addingTimeInterval(-0.001)).isEmpty)
    #expect(try await claim(store, "a", at: orphaned).map(\.id) == [job.id])
  },
  StorePromise("does not lease a job again to the owner that holds it, although that is late") { store in
    _ = try await enqueue(store)
    let job = try #require(try await claim(store, "a", at: start).first)
    let later = start.addingTimeInterval(60 + 29)
    #expect(try await claim(store, "a", at: later).isEmpty)
    #expect(try await store.nextDue(.email, owner: "a") == nil)
    #expect(try await store.extendLeases(of: [job.id], owner: "a", to: later.addingTimeInterval(60)) == [job.id])
    try await store.release([job.id], owner: "a")
    #expect(try await claim(store, "a", at: later).map(\.id) == [job.id])
  },
  StorePromise("keeps a job that is leased from the start from every other owner until the lease runs out") { store in
    let job = try await enqueue(store, due: start.addingTimeInterval(6), owner: "a")
    #expect(job.attempts == 1)
    #expect(try await claim(store, "b", at: start.addingTimeInterval(5)).isEmpty)
    #expect(try await claim(store, "a", at: start.addingTimeInterval(5)).isEmpty)
    #expect(try await claim(store, "b", at: start.addingTimeInterval(6)).map(\.id) == [job.id])
  },
  StorePromise("does not count a released job as attempted") { store in
    _ = try await enqueue(store)
    let job = try #require(try await claim(store, "a", at: start).first)
    #expect(try await store.finish(job, owner: "a", .release, at: start))
    let again = try #require(try await claim(store, "a", at: start).first)
    try await store.release([again.id], owner: "a")
    #expect(try await claim(store, "a", at: start).first?.attempts == 1)
  },
  StorePromise("releases no lease that another owner holds") { store in
    _ = try await enqueue(store)
    let job = try #require(try await claim(store, "a", at: start).first)
    try await store.release([job.id], owner: "b")
    #expect(try await claim(store, "b", at: start).isEmpty)
    #expect(try await store.extendLeases(of: [job.id], owner: "a", to: start.addingTimeInterval(90)) == [job.id])
  },
  StorePromise("corrects times that were recorded while the clock was ahead, and no others") { store in
    let ahead = start.addingTimeInterval(3 * 3600)
    let leaseEnd = start.addingTimeInterval(6)
    let wait = OutboxWait(first: 2, longest: 900)
    // Added in the future; due in the future; leased until the future; a dead letter of the future.
    let added = try await store.enqueue(.request("added@example.com", at: ahead), audit: AuditRecord(.requested))
    let late = try await enqueue(store, "late@example.com", due: ahead)
    let leased = try await enqueue(store, "leased@example.com", due: ahead, owner: "other")
    let dead = try await enqueue(store, "dead@example.com")
    let attempt = try #require(try await claim(store, "a", at: start).first { $0.id == dead.id })
    #expect(try await store.finish(attempt, owner: "a", .deadLetter(reason: "too old", AuditRecord(.mailFailed)), at: ahead))
    // These are as they should be.
    let soon = try await enqueue(store, "soon@example.com", due: start.addingTimeInterval(2))
    let held = try await enqueue(store, "held@example.com", due: leaseEnd, owner: "other")
    #expect(try await store.correctTimes(.email, lease: 6, longestWait: wait) { start } == 4)
    #expect(try await store.correctTimes(.email, lease: 6, longestWait: wait) { start } == 0)
    let jobs = try await claim(store, "b", at: start, limit: 10)
    #expect(Set(jobs.map(\.id)) == [added.id, late.id, dead.id])
    #expect(jobs.allSatisfy { $0.createdAt == start && $0.ttlStart == start })
    #expect(try await claim(store, "b", at: leaseEnd, limit: 10).map(\.id).sorted() == [leased.id, soon.id, held.id].sorted())
  },
  StorePromise("leaves no job waiting after the clock was set back") { store in
    let job = try await enqueue(store, due: start.addingTimeInterval(60))
    #expect(try await store.correctTimes(.email, lease: 0, longestWait: OutboxWait(first: 60, longest: 60)) { start } == 0)
    #expect(try await store.correctTimes(.email, lease: 0, longestWait: .zero) { start } == 1)
    #expect(try await claim(store, "a", at: start).map(\.id) == [job.id])
  },
  StorePromise("never sends an email again that was sent, even if its sender had lost the lease") { store in
    _ = try await enqueue(store)
    let first = try #require(try await claim(store, "a", at: start).first)
    let later = start.addingTimeInterval(61)
    let second = try #require(try await claim(store, "b", at: later).first)
    #expect(try await store.finish(first, owner: "a", .done(AuditRecord(.mailed)), at: later))
    #expect(try await store.extendLeases(of: [second.id], owner: "b", to: later.addingTimeInterval(60)).isEmpty)
  },
  StorePromise("never gives an id to two jobs, so that no worker takes another job for its own") { store in
    var ids = Set<Int64>()
    for _ in 0..<3 {
      _ = try await enqueue(store)
      let job = try #require(try await claim(store, "a", at: start).first)
      #expect(ids.insert(job.id).inserted)
      _ = try await store.finish(job, owner: "a", .done(AuditRecord(.noAccount)), at: start)
    }
  },
  StorePromise("does not shorten a wait by extending a lease") { store in
    _ = try await enqueue(store)
    let job = try #require(try await claim(store, "a", at: start).first)
    _ = try await store.finish(job, owner: "a", .retry(at: start.addingTimeInterval(600), reason: "451"), at: start)
    _ = try await store.extendLeases(of: [job.id], owner: "a", to: start.addingTimeInterval(8))
    #expect(try await store.nextDue(.email, owner: "a") == start.addingTimeInterval(600))
  },
  StorePromise("replaces a request by one job for each account, and keeps its language and its age") { store in
    let users = [try await store.addUser("a").id, try await store.addUser("b").id]
    _ = try await enqueue(store)
    let job = try #require(try await claim(store, "a", at: start).first)
    let later = start.addingTimeInterval(5)
    #expect(try await store.finish(job, owner: "a", .split(users, AuditRecord(.suppressed)), at: later))
    let jobs = try await claim(store, "a", at: later)
    #expect(Set(jobs.map(\.id)).count == 2 && !jobs.map(\.id).contains(job.id))
    for (job, user) in zip(jobs.sorted { $0.id < $1.id }, users) {
      #expect(job.kind == .resetEmail(userID: user, requested: "a@example.com"))
      #expect(job.locale == "en" && job.createdAt == start && job.requestID == "r")
    }
    #expect(try await store.auditRows(AuditFilter(), limit: 10).map(\.event) == ["requested", "suppressed"])
  },
  StorePromise("keeps no address for the accounts of a request by user name") { store in
    let user = try await store.addUser("a").id
    let request = NewJob(.resetRequest(.username("a")), locale: nil, requestID: "r", createdAt: start, due: start)
    _ = try await store.enqueue(request, audit: AuditRecord(.requested))
    let job = try #require(try await claim(store, "a", at: start).first)
    #expect(try await store.finish(job, owner: "a", .split([user], nil), at: start))
    #expect(try await claim(store, "a", at: start).map(\.kind) == [.resetEmail(userID: user, requested: nil)])
  },
  StorePromise("keeps dead letters with the reason until they are purged, and leases none of them") { store in
    for index in 0..<3 {
      _ = try await enqueue(store)
      let died = start.addingTimeInterval(Double(index))
      let job = try #require(try await claim(store, "a", at: died).first)
      #expect(try await store.finish(job, owner: "a", .deadLetter(reason: "550", AuditRecord(.mailFailed)), at: died))
      #expect(try await store.outboxRow(id: job.id)?.lastError == "550")
    }
    #expect(try await claim(store, "b", at: start.addingTimeInterval(3600)).isEmpty)
    #expect(try await store.nextDue(.email, owner: "b") == nil)
    let end = start.addingTimeInterval(2)
    #expect(try await store.purgeDeadLetters(before: end, limit: 1) == 1)
    #expect(try await store.purgeDeadLetters(before: end, limit: 5) == 1)
    #expect(try await store.outboxCounts().dead == 1)
  },
  StorePromise("keeps the channels apart") { store in
    let webhook = NewJob(
      .webhook(.completed, userID: UserID("7"), messageID: "msg_1"), locale: nil, requestID: "r", createdAt: start, due: start)
    _ = try await store.enqueue(webhook, audit: AuditRecord(.linkPrinted))
    let email = try await enqueue(store, due: start.addingTimeInterval(-1))
    #expect(try await store.nextDue(.webhook, owner: "a") == start)
    #expect(try await store.nextDue(.email, owner: "a") == email.createdAt.addingTimeInterval(-1))
    let jobs = try await store.claim(.webhook, limit: 5, owner: "a", at: start, leaseEnd: start.addingTimeInterval(60))
    #expect(jobs.map(\.kind) == [webhook.kind] && jobs[0].requestID == "r" && jobs[0].createdAt == start)
    #expect(try await store.nextDue(.webhook, owner: "a") == nil)
    #expect(try await claim(store, "a", at: start).map(\.id) == [email.id])
    _ = try await store.retryOutbox(.ids([jobs[0].id]), at: start)
    #expect(try await store.lastRetry(.email) == nil)
    #expect(try await store.lastRetry(.webhook) == start)
    _ = try await store.enqueue(
      NewJob(
        .webhook(.completed, userID: nil, messageID: "msg_2"), locale: nil, requestID: "r", createdAt: start, due: start.addingTimeInterval(600)),
      audit: AuditRecord(.linkPrinted))
    #expect(try await store.correctTimes(.email, lease: 60, longestWait: .zero) { start } == 0)
    #expect(try await store.correctTimes(.webhook, lease: 60, longestWait: .zero) { start } == 1)
  },
  StorePromise("keeps a webhook without a user") { store in
    let job = NewJob(.webhook(.mailFailed, userID: nil, messageID: "msg_1"), locale: nil, requestID: "r", createdAt: start, due: start)
    _ = try await store.enqueue(job, audit: AuditRecord(.linkPrinted))
    let jobs = try await store.claim(.webhook, limit: 5, owner: "a", at: start, leaseEnd: start.addingTimeInterval(60))
    #expect(jobs.map(\.kind) == [job.kind])
  },
  StorePromise("adds the jobs that follow with the outcome, or neither") { store in
    let webhooks = (1...2).map { index in
      NewJob(.webhook(.mailFailed, userID: UserID("7"), messageID: "msg_\(index)"), locale: nil, requestID: "r", createdAt: start, due: start)
    }
    let outcomes: [JobOutcome] = [
      .done(AuditRecord(.mailed)), .deadLetter(reason: "550", AuditRecord(.mailFailed)), .retry(at: start.addingTimeInterval(60), reason: "451"),
      .split([UserID("7")], nil), .release,
    ]
    for outcome in outcomes {
      _ = try await enqueue(store)
      let job = try #require(try await claim(store, "a", at: start).first)
      #expect(try await store.finish(job, owner: "b", outcome.isSent ? .release : outcome, adding: webhooks, at: start) == false)
      #expect(try await store.nextDue(.webhook, owner: "a") == nil)
      #expect(try await store.finish(job, owner: "a", outcome, adding: webhooks, at: start))
      let added = try await store.claim(.webhook, limit: 5, owner: "a", at: start, leaseEnd: start.addingTimeInterval(60))
      #expect(Set(added.map(\.kind.columns.identifier)) == ["password_reset.mail_failed msg_1", "password_reset.mail_failed msg_2"])
      for job in added { #expect(try await store.finish(job, owner: "a", .done(nil), at: start)) }
      while case let rest = try await claim(store, "c", at: start.addingTimeInterval(600)), !rest.isEmpty {
        for job in rest { _ = try await store.finish(job, owner: "c", .done(AuditRecord(.noAccount)), at: start) }
      }
    }
  },
  StorePromise("never sends a webhook again that was sent, even if its sender had lost the lease") { store in
    let new = NewJob(.webhook(.completed, userID: nil, messageID: "msg_1"), locale: nil, requestID: "r", createdAt: start, due: start)
    _ = try await store.enqueue(new, audit: AuditRecord(.linkPrinted))
    let later = start.addingTimeInterval(61)
    let first = try #require(try await store.claim(.webhook, limit: 5, owner: "a", at: start, leaseEnd: start.addingTimeInterval(60)).first)
    _ = try await store.claim(.webhook, limit: 5, owner: "b", at: later, leaseEnd: later.addingTimeInterval(60))
    #expect(try await store.finish(first, owner: "a", .done(nil), at: later))
    #expect(try await store.outboxRow(id: first.id) == nil)
  },
  StorePromise("counts an email once against the limits of its address and of all emails") { store in
    let user = try await store.addUser("a").id
    func reserve(_ request: String, key: String?, at seconds: Double = 0) async throws -> EmailAllowance {
      let email = EmailReservation(
        addressKey: key, requestID: request, userID: user, limits: key == nil ? [] : [RateLimit(count: 1, seconds: 60)],
        totalLimits: [RateLimit(count: 2, seconds: 600)])
      return try await store.reserve(email) { start.addingTimeInterval(seconds) }
    }
    #expect(try await reserve("r1", key: "k") == .granted)
    // The second attempt to send the same email.
    #expect(try await reserve("r1", key: "k", at: 1) == .granted)
    #expect(try await reserve("r2", key: "k", at: 59) == .refused)
    #expect(try await reserve("r3", key: "other", at: 2) == .granted)
    #expect(try await reserve("r4", key: nil, at: 3) == .later(start.addingTimeInterval(600)))
    #expect(try await reserve("r5", key: "k", at: 601) == .granted)
  },
]

private func enqueue(_ store: any Store, _ address: String = "a@example.com", due: Date? = nil, owner: String? = nil) async throws -> Job {
  try await store.enqueue(.request(address, at: start, due: due, owner: owner), audit: AuditRecord(.requested))
}

private func claim(_ store: any Store, _ owner: String, at now: Date, limit: Int = 5) async throws -> [Job] {
  try await store.claim(.email, limit: limit, owner: owner, at: now, leaseEnd: now.addingTimeInterval(60))
}
