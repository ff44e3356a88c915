import Foundation
import SQLiteStore
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
    #expect(try await store.claim(limit: 5, owner: "other", at: Date().addingTimeInterval(1), leaseEnd: Date()).count == 1)
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
    #expect(new.owner != nil && leases.count == 0)
    #expect(try await add("b@example.com"))
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
}
