import Foundation
import PasswordReset
import PostgresStore
import TestSupport
import Testing

/// How the server runs statements that it planned while there were no jobs.
@Suite struct `An outbox that was empty when PostgreSQL analyzed it` {
  private let url: String
  private let store: PostgresStore

  init() throws {
    url = try PostgresCluster.newDatabase()
    store = try PostgresStore(PostgresAddress(url: url))
    try store.migrate()
    try sql("VACUUM ANALYZE password_reset.outbox")
  }

  @discardableResult private func sql(_ statements: String) throws -> String { try PostgresCluster.sql(statements, url: url) }

  /// Ends the store's sessions, which publish their statistics at the latest then.
  private func endSessions() throws {
    try sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
  }

  @Test func `does not read all of it for each job`() async throws {
    let scans = "FROM pg_stat_user_tables WHERE relid = 'password_reset.outbox'::regclass"
    let before = try sql("SELECT seq_scan \(scans)")
    // The server decides on a statement's final plan when it runs for the sixth time.
    for _ in 0..<20 {
      let job = try await store.enqueue(.request(owner: "a"), audit: AuditRecord(.requested))
      #expect(try await store.finish(job, owner: "a", .done(AuditRecord(.mailed)), at: Date()))
    }
    try endSessions()
    try await eventually("the session publishes its statistics") { try sql("SELECT idx_scan >= 20 \(scans)") == "t" }
    #expect(try sql("SELECT seq_scan \(scans)") == before)
  }

  @Test(arguments: JobChannel.allCases) func `does not read all of it for each claim`(channel: JobChannel) async throws {
    // The server decides on a statement's final plan when it runs for the sixth time.
    for _ in 0..<10 { _ = try await store.claim(channel, limit: 5, owner: "a", at: Date(), leaseEnd: Date()) }
    let reads = "(SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relid = 'password_reset.outbox'::regclass)"
    try sql(
      """
      INSERT INTO password_reset.outbox (kind, identifier, request_id, created_at, due_at)
      SELECT 'request_email', 'a@example.com', 'r', 0, 0 FROM generate_series(1, 1000)
      """)
    let before = try sql("SELECT \(reads)")
    for _ in 0..<20 {
      let jobs = try await store.claim(channel, limit: 5, owner: "a", at: Date(), leaseEnd: Date().addingTimeInterval(60))
      #expect(jobs.count == (channel == .email ? 5 : 0))
    }
    try endSessions()
    try await eventually("the session publishes its statistics") {
      try sql("SELECT sum(idx_scan) >= 20 FROM pg_stat_user_indexes WHERE relid = 'password_reset.outbox'::regclass") == "t"
    }
    // Each of 100 jobs was read by its time, with those that were claimed before, and by its id.
    #expect(try sql("SELECT \(reads) - \(before) < 3000") == "t")
  }
}
