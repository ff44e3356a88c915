import Foundation
import PasswordReset
import Testing

@testable import App
@testable import PostgresStore

/// The service on PostgreSQL when any one message between them is lost, or any one statement fails.
@Suite struct `A failing PostgreSQL server` {
  /// A database with two users, and the path of a link of one.
  private struct Template {
    let database: String
    let link: String

    static let shared = Task { try await Template() }

    private init() async throws {
      let harness = try Harness()
      let url = try PostgresCluster.newDatabase()
      database = PostgresCluster.name(in: url)
      try await harness.run(["DATABASE_URL": url]) { client in
        let store = try PostgresStore(PostgresAddress(url: url))
        for name in ["alice", "bob"] {
          _ = try await store.addUser(
            username: name, email: "\(name)@example.com", password: harness.hasher.encode(Harness.oldPassword), at: Date())
        }
        #expect(try await client.requestReset(email: "alice@example.com").status == 202)
        _ = try await harness.link()
        try await eventually("an empty outbox") { try PostgresCluster.sql("SELECT count(*) FROM password_reset.outbox", url: url) == "0" }
      }
      link = try await harness.link()
      try PostgresCluster.sql("DELETE FROM password_reset.audit", url: url)
      // A database with connections cannot be copied.
      try await eventually("the connections to end") {
        try PostgresCluster.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()", url: url)
          == "0"
      }
    }
  }

  private func reset(_ flow: String, _ fault: NetworkFault, _ point: Int) async throws -> FaultyReset {
    let template = try await Template.shared.value
    return FaultyReset(
      try FaultyNetwork(fault, template: template.database), link: template.link, point: point, fault: fault, mayBeUnknown: fault.lasts, flow)
  }

  @Test(arguments: FaultPoints.roles, NetworkFault.tried)
  func `loses no request that was accepted, and mails none that was refused`(role: ProcessRole, fault: NetworkFault) async throws {
    try await FaultPoints.exhaust("PostgreSQL, request, \(role), \(fault)", every: role == .web ? 3 : 97) { point in
      try await reset("request, \(role)", fault, point).request(role)
    }
  }

  @Test(arguments: NetworkFault.tried)
  func `makes no link invalid that is checked`(fault: NetworkFault) async throws {
    try await FaultPoints.exhaust("PostgreSQL, check, \(fault)", every: 17) { point in try await reset("check", fault, point).check() }
  }

  @Test(arguments: FaultPoints.roles, NetworkFault.tried)
  func `lets a link set one password, with its notice and webhook, or none`(role: ProcessRole, fault: NetworkFault) async throws {
    try await FaultPoints.exhaust("PostgreSQL, confirm, \(role), \(fault)", every: role == .web ? 17 : 97) { point in
      try await reset("confirm, \(role)", fault, point).confirm(role)
    }
  }

  @Test(arguments: NetworkFault.tried)
  func `delays the start, or the jobs that wait for it`(fault: NetworkFault) async throws {
    try await FaultPoints.exhaust("PostgreSQL, start, \(fault)", every: 149) { point in try await reset("start", fault, point).start() }
  }

  @Test(arguments: [false, true], NetworkFault.tried)
  func `interrupts a migration, which can be repeated`(isUpgrade: Bool, fault: NetworkFault) async throws {
    let what = isUpgrade ? "upgrade" : "migrate"
    let expected = try schema(isUpgrade)
    try await FaultPoints.exhaust("PostgreSQL, \(what), \(fault)", every: 149) { point in
      let network = try FaultyNetwork(fault)
      let comment: Comment = "\(what), \(fault), point \(point)"
      if isUpgrade { try makeOld(network.url) }
      network.fail(at: point)
      var isMigrated = true
      do { try migrate(network.proxyURL) } catch { isMigrated = false }
      network.repair()
      let isReached = network.failure != nil
      try await network.closed()
      if isMigrated {
        // If the users table is in use for too long, a later start creates its index.
        let isIndexOptional = fault.kind == .error("57014")
        let found = try contents(network.url)
        #expect(found == expected || isIndexOptional && found == withoutEmailIndex(expected), comment)
      }
      #expect(throws: Never.self, comment) { try migrate(network.proxyURL) }
      #expect(try contents(network.url) == expected, comment)
      return (isReached, isMigrated ? "done" : "refused")
    }
  }

  private func migrate(_ url: String) throws(StoreOpenError) { try PostgresStore(PostgresAddress(url: url)).migrate() }

  /// Creates the tables of the first release, with a job.
  private func makeOld(_ url: String) throws {
    let statements =
      Migrations.createUserTable("auth_user") + Migrations.createSchema + (Migrations.all.first?.statements ?? []) + [
        "INSERT INTO password_reset.migrations (number, name) VALUES (1, 'old')",
        """
        INSERT INTO password_reset.outbox (kind, identifier, request_id, created_at, due_at)
          VALUES ('request_email', 'alice@example.com', 'r', 1, 2)
        """,
      ]
    try PostgresCluster.sql(statements.joined(separator: ";\n"), url: url)
  }

  /// Returns what a migration without a fault leaves behind.
  private func schema(_ isUpgrade: Bool) throws -> String {
    let url = try PostgresCluster.newDatabase()
    if isUpgrade { try makeOld(url) }
    try migrate(url)
    return try contents(url)
  }

  private func withoutEmailIndex(_ contents: String) -> String {
    contents.split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.contains("INDEX password_reset_auth_user_email ") }
      .joined(separator: "\n")
  }

  private func contents(_ url: String) throws -> String {
    try PostgresCluster.sql(
      """
      SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
        WHERE table_schema IN ('public', 'password_reset') ORDER BY 1, 2, ordinal_position;
      SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'password_reset') ORDER BY 1;
      SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2;
      SELECT number FROM password_reset.migrations ORDER BY 1;
      SELECT id, kind, identifier FROM password_reset.outbox ORDER BY 1
      """, url: url)
  }
}
