import Credentials
import Foundation
import PasswordReset
import Testing

/// The promises of ``OutboxAdmin``.
public let outboxAdminPromises: [StorePromise] = [
  StorePromise("counts jobs and dead letters, and knows the oldest job") { store in
    #expect(try await store.outboxCounts() == OutboxCounts(waiting: 0, oldest: nil, dead: 0))
    let ids = try await fill(store)
    #expect(try await store.outboxCounts() == OutboxCounts(waiting: 2, oldest: start.addingTimeInterval(1), dead: 1))
    #expect(try await store.purgeOutbox(.ids(ids), limit: 10) == 3)
    #expect(try await store.outboxCounts() == OutboxCounts(waiting: 0, oldest: nil, dead: 0))
  },
  StorePromise("lists rows in the order of their ids, a page at a time, and dead letters alone if asked") { store in
    let ids = try await fill(store)
    #expect(try await store.outboxRows(after: nil, limit: 2, deadLettersOnly: false).map(\.id) == Array(ids.prefix(2)))
    #expect(try await store.outboxRows(after: ids[1], limit: 2, deadLettersOnly: false).map(\.id) == [ids[2]])
    #expect(try await store.outboxRows(after: ids[2], limit: 2, deadLettersOnly: false) == [])
    #expect(try await store.outboxRows(after: nil, limit: 2, deadLettersOnly: true).map(\.id) == [ids[0]])
  },
  StorePromise("shows all of a row, and nothing for an id that no row has") { store in
    let ids = try await fill(store)
    let row = try #require(try await store.outboxRow(id: ids[0]))
    #expect(row.kind == "request_email" && row.identifier == "user0@example.com" && row.userID == nil && row.locale == "en")
    #expect(row.requestID == "r" && row.createdAt == start && row.attempts == 1 && row.lastError == "550" && row.deadLetteredAt == start)
    #expect(try await store.outboxRow(id: ids[1])?.dueAt == start.addingTimeInterval(1))
    #expect(try await store.purgeOutbox(.ids([ids[0]]), limit: 1) == 1)
    #expect(try await store.outboxRow(id: ids[0]) == nil)
  },
  StorePromise("makes dead letters and leased jobs due at once, with a new time to live") { store in
    let ids = try await fill(store)
    let now = start.addingTimeInterval(3600)
    #expect(try await store.claim(.email, limit: 5, owner: "b", at: now, leaseEnd: now.addingTimeInterval(60)).count == 2)
    #expect(try await store.retryOutbox(.deadLetters(before: start), at: now) == 0)
    #expect(try await store.retryOutbox(.deadLetters(before: now), at: now) == 1)
    #expect(try await store.retryOutbox(.ids([ids[1], ids.max().map { $0 + 1 } ?? 0]), at: now) == 1)
    let jobs = try await store.claim(.email, limit: 5, owner: "c", at: now, leaseEnd: now.addingTimeInterval(60))
    #expect(Set(jobs.map(\.id)) == Set(ids.prefix(2)))
    #expect(jobs.allSatisfy { $0.ttlStart == now } && jobs.first { $0.id == ids[0] }?.createdAt == start)
  },
  StorePromise("makes all jobs due that wait, but neither those in progress nor dead letters") { store in
    let ids = try await fill(store)
    let now = start.addingTimeInterval(3600)
    let leased = try #require(try await store.claim(.email, limit: 1, owner: "b", at: now, leaseEnd: now.addingTimeInterval(60)).first)
    let waiting = try #require(ids.last)
    #expect(leased.id == ids[1] && waiting != leased.id)
    #expect(try await store.lastRetry(.email) == nil)
    #expect(try await store.retryOutbox(.waiting, at: now) == 1)
    #expect(try await store.lastRetry(.email) == now)
    let jobs = try await store.claim(.email, limit: 5, owner: "c", at: now, leaseEnd: now.addingTimeInterval(60))
    #expect(jobs.map(\.id) == [waiting] && jobs.map(\.ttlStart) == [now])
  },
  StorePromise("deletes no more rows than it may") { store in
    let ids = try await fill(store)
    #expect(try await store.purgeOutbox(.deadLetters(before: start), limit: 10) == 0)
    #expect(try await store.purgeOutbox(.deadLetters(before: .distantFuture), limit: 10) == 1)
    #expect(try await store.purgeOutbox(.ids(ids), limit: 1) == 1)
    #expect(try await store.purgeOutbox(.ids(ids), limit: 10) == 1)
  },
]

/// Adds three jobs, a second apart, of which the first is a dead letter, and returns their ids.
private func fill(_ store: any Store) async throws -> [Int64] {
  var ids: [Int64] = []
  for index in 0..<3 {
    let time = start.addingTimeInterval(Double(index))
    ids.append(try await store.enqueue(.request("user\(index)@example.com", at: time), audit: AuditRecord(.requested)).id)
  }
  let job = try #require(try await store.claim(.email, limit: 1, owner: "a", at: start, leaseEnd: start.addingTimeInterval(60)).first)
  #expect(job.id == ids[0])
  #expect(try await store.finish(job, owner: "a", .deadLetter(reason: "550", AuditRecord(.mailFailed)), at: start))
  return ids
}
