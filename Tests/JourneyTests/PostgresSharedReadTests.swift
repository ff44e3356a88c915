import Credentials
import Foundation
import PasswordReset
import Testing

@testable import PostgresStore

/// Concurrent look-ups of users by key share a statement.
@Suite struct `Look-ups that share a statement` {
  private let address: PostgresAddress
  private let statements = Recorder()

  init() throws {
    let url = try PostgresCluster.newDatabase()
    address = PostgresAddress(url: url)
    try PostgresCluster.sql(
      """
      CREATE TABLE numbered (id integer PRIMARY KEY, email varchar(99), password varchar(99));
      INSERT INTO numbered SELECT 10 * i, i || '@b.co', 'x' FROM generate_series(1, 20) AS i;
      CREATE TABLE identified (id uuid PRIMARY KEY, email varchar(99), password varchar(99));
      INSERT INTO identified SELECT lpad(10 * i || '', 32, '0')::uuid, i || '@b.co', 'x' FROM generate_series(1, 20) AS i;
      CREATE TABLE empty (id integer PRIMARY KEY, email varchar(99), password varchar(99));
      """, url: url)
  }

  private func open(_ table: String) throws -> PostgresStore {
    let statements = statements
    let users = UserTable(name: table, columns: [.isActive: .absent, .lastLogin: .absent])
    let store = try PostgresStore(address, users: users) { statements.add($0) }
    try store.migrate()
    return store
  }

  /// Looks up many keys at once, until some of them have shared a statement. Returns the users by key.
  private func lookUp(_ keys: [UserID], in store: PostgresStore) async throws -> [UserID: User] {
    var found: [UserID: User] = [:]
    try await eventually("look-ups to share a statement") {
      found = try await withThrowingTaskGroup { group in
        for key in keys { group.addTask { (key, try await store.user(id: key)) } }
        return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
      }
      return statements.lines.contains { $0.contains("LEFT JOIN LATERAL") }
    }
    return found
  }

  @Test(arguments: ["numbered", "identified"]) func `find each user that there is, and no other`(table: String) async throws {
    func key(_ number: Int) -> UserID {
      table == "numbered" ? UserID(Int64(number)) : UserID("00000000-0000-0000-0000-\(String(format: "%012d", number))")
    }
    let store = try open(table)
    // Below, between and above the keys that there are.
    let found = try await lookUp((0...220).map(key), in: store)
    #expect(found.mapValues(\.email) == Dictionary(uniqueKeysWithValues: (1...20).map { (key(10 * $0), "\($0)@b.co") }))
    #expect(found.allSatisfy { $0 == $1.id })
  }

  @Test func `find no one in an empty table`() async throws {
    #expect(try await lookUp((0...50).map { UserID(Int64($0)) }, in: open("empty")).isEmpty)
  }

  @Test func `fail one by one`() throws {
    let session = try PostgresSession(address)
    let division = Statement(
      "division", "SELECT 1000 / $1::integer",
      sharing: .rows(several: "SELECT 1000 / divisor FROM unnest($1::integer[]) WITH ORDINALITY AS d (divisor, position) ORDER BY position"))
    func quotients(_ divisors: Int...) throws -> [Int64?] {
      try session.runEach(divisors.map { [Command(division, $0)] }, until: .now + .seconds(60)).map { try? $0.get()[0].first?.integer(0) }
    }
    #expect(try quotients(1, 10, 100) == [1000, 100, 10])
    #expect(try quotients(0, 1, 0, 10) == [nil, 1000, nil, 100])
    #expect(try quotients(8) == [125])
  }

  @Test func `fail together, and do not wait again, if the server ends their statement`() throws {
    let session = try PostgresSession(address) { [statements] in statements.add($0) }
    let sleep = Statement("sleep", "SELECT pg_sleep($1::float8)", sharing: .rows(several: "SELECT pg_sleep(s) FROM unnest($1::float8[]) AS s"))
    _ = try session.rows(of: Command(Statement(nil, "SET statement_timeout = '50ms'")))
    let results = try session.runEach((0..<100).map { _ in [Command(sleep, 60)] }, until: .now + .seconds(60))
    #expect(results.map(\.failureState) == Array(repeating: "57014", count: 100))
    #expect(statements.lines.filter { $0.contains("pg_sleep") }.count == 1)
  }
}

extension Result<[Rows], SQLError> {
  fileprivate var failureState: String? {
    if case .failure(let error) = self { error.state } else { nil }
  }
}
