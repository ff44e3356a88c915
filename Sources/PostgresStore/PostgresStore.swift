public import PasswordReset
import Synchronization
import Foundation

/// Users, outbox and audit in a PostgreSQL database, which may be that of a Django site.
///
/// Our tables are in the schema `password_reset`. Any number of processes may use them at the same time.
public struct PostgresStore: Sendable {
  let address: PostgresAddress
  let userTable: UserTable
  let loginZone: String
  let users: UserStatements
  private let writer: PostgresConnection
  /// Writes to the site's users table, which the site may have locked for a while. Requests for an email must not wait for
  /// that.
  private let userWriter: PostgresConnection
  /// Searches, which may take long. A link check must not wait for them.
  private let searcher: PostgresConnection
  private let readers: [PostgresConnection]
  /// Counts the requests of clients.
  private let counter: PostgresConnection
  private let roundRobin = RoundRobin()
  /// Distinguishes the notifications of this instance from those of others.
  let origin = String(UInt64.random(in: .min ... .max), radix: 16)
  let onStatement: (@Sendable (String) -> Void)?

  /// Connects to the database, and checks the server and every safety setting.
  ///
  /// - Parameter users: the site's users table.
  /// - Parameter loginZone: the time zone of the texts that Django makes of `last_login` in a token: UTC with `USE_TZ`,
  ///   otherwise the site's `TIME_ZONE`.
  /// - Parameter onStatement: receives every SQL statement before it is sent, without its values.
  public init(
    _ address: PostgresAddress, users: UserTable = .django, loginZone: String = "UTC", onStatement: (@Sendable (String) -> Void)? = nil
  ) throws(StoreOpenError) {
    let session = try PostgresSession(address, onStatement: onStatement)
    try UserTableCheck.checkZone(loginZone, session)
    userTable = users
    self.loginZone = loginZone
    if let existing = try UserTableCheck.statements(of: users, loginZone: loginZone, session) {
      self.users = existing
    } else {
      self.users = try UserTableCheck.statementsOfNewTable(loginZone: loginZone, session)
    }
    self.address = address
    self.onStatement = onStatement
    func connection(_ mode: PostgresConnection.Mode, _ session: PostgresSession? = nil) -> PostgresConnection {
      PostgresConnection(mode, address, session: session, onStatement: onStatement)
    }
    writer = connection(.writes, session)
    userWriter = connection(.writes)
    searcher = connection(.reads)
    counter = connection(.counts)
    readers = (0..<min(max(ProcessInfo.processInfo.activeProcessorCount / 2, 1), Self.maximumReaders)).map { _ in connection(.reads) }
  }

  /// One connection answers thousands of look-ups per second, and every connection costs the server megabytes. The fewer there are, the
  /// more look-ups share a transaction: one instead of two took a seventh less processor time on two cores.
  private static let maximumReaders = 4

  /// Runs one statement that changes nothing.
  func read(_ command: Command) async throws(StoreError) -> Rows {
    // No row has such a text.
    if command.hasNUL { return try await read(Command(Statement(nil, "SELECT WHERE false"))) }
    return try await searcher.run([command], isRefusable: true).only
  }

  /// Runs one statement that reads a few rows by their keys.
  func readByKey(_ command: Command) async throws(StoreError) -> Rows {
    let start = roundRobin.next(of: readers.count)
    // The server may have refused one of the connections because it has too many.
    let reader = (start..<(start + readers.count)).lazy.map { readers[$0 % readers.count] }.first { $0.outage == nil } ?? readers[start]
    return try await reader.run([command], isRefusable: true).only
  }

  /// Runs one statement that counts requests of clients. A crash of the server may lose what it changes.
  func count(_ command: Command) async throws(StoreError) -> Rows { try await counter.run([command], isRefusable: true).only }

  /// Runs one statement in a transaction that is on disk when this returns. Concurrent writes share transactions.
  func write(_ command: Command, isRefusable: Bool = false) async throws(StoreError) -> Rows {
    try await write([command], isRefusable: isRefusable).only
  }

  /// Runs several statements in one transaction.
  func write(_ commands: [Command], isRefusable: Bool = false) async throws(StoreError) -> [Rows] {
    try await writer.run(commands, isRefusable: isRefusable)
  }

  /// Runs statements that change the users table in one transaction.
  /// - Parameter followUp: what to run afterwards, in a transaction that is not shared with other requests.
  func writeUsers(_ commands: [Command], followUp: FollowUp? = nil) async throws(StoreError) -> [Rows] {
    try await userWriter.run(commands, followUp: followUp, isRefusable: false)
  }

  /// Why writes fail at the moment, or `nil` if none failed for want of a connection.
  var outage: StoreError? { writer.outage }

  /// Returns a condition that is true in only one of several transactions that delete old rows of a table at the same time.
  /// The others delete nothing, instead of waiting for the same rows.
  static func isOnlyPurge(of table: String) -> String {
    "(SELECT pg_try_advisory_xact_lock(hashtextextended('purge of password_reset.\(table)', 0)))"
  }

  var hasDiskFailed: Bool { writer.hasDiskFailed }
}

extension PostgresStore: DatabaseConnections {
  public func connections() -> [ConnectionState] {
    let groups = [("writes", [writer]), ("users", [userWriter]), ("searches", [searcher]), ("counts", [counter]), ("reads", readers)]
    return groups.map { purpose, connections in
      var state = ConnectionState(purpose: purpose, open: 0, waiting: 0, reconnects: 0)
      for connection in connections { connection.add(to: &state) }
      return state
    }
  }
}

extension [Rows] {
  /// The rows of a request's only command.
  fileprivate var only: Rows {
    get throws(StoreError) {
      guard let rows = first else { throw .unavailable(reason: "the server sent no result") }
      return rows
    }
  }
}

/// Spreads reads over the connections.
private final class RoundRobin: Sendable {
  private let count = Atomic<Int>(0)

  func next(of connections: Int) -> Int { (count.wrappingAdd(1, ordering: .relaxed).newValue & .max) % connections }
}
