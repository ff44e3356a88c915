import CLibPQ
import Foundation
import PasswordReset

/// One connection to the server. Only one thread uses it at a time.
final class PostgresSession {
  /// Why a session cannot be used any more.
  enum Failure: Error {
    /// The server or the network ended the connection.
    case lost(reason: String)
    /// The server did not answer in time.
    case silent

    var reason: String {
      switch self {
      case .lost(let reason): reason
      case .silent: "the PostgreSQL server did not answer in time"
      }
    }
  }

  /// The oldest release with `pg_current_xact_id`, which this store needs.
  static let minimumVersion = 130_000
  /// For how long the server may work on one statement, in milliseconds.
  private static let statementTimeout = 5000

  let address: PostgresAddress
  let connection: OpaquePointer
  /// The names of the statements that the server has prepared (`true`) or was asked to prepare.
  var prepared: [String: Bool] = [:]
  /// Receives every statement before it is sent, without its values.
  let onStatement: (@Sendable (String) -> Void)?
  /// The number of the server's timeline, which changes when a standby is promoted; `nil` if it cannot be read.
  private(set) var timeline: String?

  /// Connects, checks the server, and sets up the session.
  init(_ address: PostgresAddress, onStatement: (@Sendable (String) -> Void)? = nil) throws(StoreOpenError) {
    self.address = address
    self.onStatement = onStatement
    connection = try Self.connect(address)
    try setUp()
  }

  /// Connects, and leaves every setting as it is.
  init(forComparison address: PostgresAddress) throws(StoreOpenError) {
    self.address = address
    onStatement = nil
    connection = try Self.connect(address)
    try beginPipelines()
  }

  deinit { PQfinish(connection) }

  private static func connect(_ address: PostgresAddress) throws(StoreOpenError) -> OpaquePointer {
    if let fault = address.fault { throw .badURL(reason: fault) }
    let parameters = address.parameters
    let started = withCStrings(parameters.map { $0.name }) { names in
      withCStrings(parameters.map { $0.value }) { values in PQconnectStartParams(names, values, 1) }
    }
    guard let connection = started else { throw .cannotConnect(reason: "out of memory") }
    // The SQLSTATE in the message distinguishes a wrong password from a server that is starting.
    PQsetErrorVerbosity(connection, PQERRORS_VERBOSE)
    PQsetNoticeProcessor(connection, { _, _ in }, nil)
    let failure = waitUntilConnected(connection)
    PQsetErrorVerbosity(connection, PQERRORS_DEFAULT)
    if let failure {
      PQfinish(connection)
      throw .cannotConnect(reason: address.redacted(failure))
    }
    return connection
  }

  /// Returns libpq's message if there is no connection in the end.
  private static func waitUntilConnected(_ connection: OpaquePointer) -> String? {
    let deadline = ContinuousClock.now + .seconds(connectTimeout(connection))
    var status = PQstatus(connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING
    while true {
      switch status {
      case PGRES_POLLING_OK: return nil
      case PGRES_POLLING_READING, PGRES_POLLING_WRITING:
        let events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT
        guard wait(connection, for: events, until: deadline) else {
          return "\(String(cString: PQerrorMessage(connection)))the server does not answer: timeout expired"
        }
        status = PQconnectPoll(connection)
      default: return String(cString: PQerrorMessage(connection))
      }
    }
  }

  /// Returns how many seconds all hosts together get.
  private static func connectTimeout(_ connection: OpaquePointer) -> Int {
    var (seconds, hosts) = (3, 1)
    guard let options = PQconninfo(connection) else { return seconds }
    defer { PQconninfoFree(options) }
    var option = options
    while let keyword = option.pointee.keyword {
      let value = option.pointee.val.map { String(cString: $0) } ?? ""
      switch String(cString: keyword) {
      case "connect_timeout": seconds = min(max(Int(value) ?? 3, 2), 60)
      case "host", "hostaddr": hosts = max(hosts, value.split(separator: ",", omittingEmptySubsequences: false).count)
      default: break
      }
      option += 1
    }
    return seconds * hosts
  }

  private func setUp() throws(StoreOpenError) {
    let version = Int(PQserverVersion(connection))
    guard version >= Self.minimumVersion else { throw .oldServer(version: version) }
    try beginPipelines()
    try checkPooler()
    let encoding = try value("SHOW server_encoding")
    guard encoding == "UTF8" else { throw .wrongEncoding(encoding) }
    // The setting can be off for the server, the database or the role. Without it, a crash of the server loses what was
    // accepted.
    if try value("SHOW synchronous_commit") == "off" { _ = try value("SELECT set_config('synchronous_commit', 'on', false)") }
    guard try value("SHOW synchronous_commit") != "off" else { throw .unsafeSetting("synchronous_commit=on") }
    _ = try value("SELECT set_config('default_transaction_isolation', 'read committed', false)")
    // If the outbox was empty at the last ANALYZE, the server plans to read all of it for each job, and keeps this plan
    // while the outbox grows. All our statements have an index. On a site without one for the addresses, the server would
    // now compile the look-up, which takes longer than running it.
    _ = try value("SELECT set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false)")
    try setStatementTimeout(milliseconds: Self.statementTimeout)
    do { timeline = try value("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)") } catch { timeline = nil }
  }

  private func beginPipelines() throws(StoreOpenError) {
    guard PQsetnonblocking(connection, 1) == 0, PQenterPipelineMode(connection) == 1 else {
      throw .cannotConnect(reason: String(cString: PQerrorMessage(connection)))
    }
  }

  /// Limits how long the server may work on one statement; 0 removes the limit.
  func setStatementTimeout(milliseconds: Int) throws(StoreOpenError) {
    _ = try value("SELECT set_config('statement_timeout', '\(milliseconds)', false)")
  }

  /// Runs a statement, and returns its first value, or an empty text if there is none.
  func value(_ sql: String) throws(StoreOpenError) -> String { try query(sql).first?.text(0) ?? "" }

  /// Runs one statement as one transaction.
  func query(_ sql: String, _ values: any Value..., seconds: Int = 8) throws(StoreOpenError) -> Rows {
    do { return try rows(of: Command(Statement(nil, sql), values: values.map(\.postgresText)), seconds: seconds) } catch {
      throw StoreOpenError(error)
    }
  }

  /// Runs one statement, and throws the server's own error.
  func rows(of command: Command, seconds: Int = 8) throws -> Rows {
    let results = try runEach([[command]], until: .now + .seconds(seconds))
    guard let rows = try results.first?.get().first else { throw StoreOpenError.cannotConnect(reason: "the server sent no result") }
    return rows
  }

  /// Waits until the socket is ready, and returns `false` at the deadline.
  static func wait(_ connection: OpaquePointer, for events: Int32, until deadline: ContinuousClock.Instant) -> Bool {
    while true {
      let left = (deadline - .now).components
      let milliseconds = left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000
      var descriptor = pollfd(fd: PQsocket(connection), events: Int16(events), revents: 0)
      let count = poll(&descriptor, 1, Int32(clamping: max(0, milliseconds)))
      if count > 0 { return true }
      if count == 0 || errno != EINTR { return false }
    }
  }
}

/// Calls `body` with an array of C strings that ends with NULL.
func withCStrings<Result>(_ texts: [String?], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Result) -> Result {
  let copies = texts.map { $0.map { strdup($0) } ?? nil }
  defer { for copy in copies { free(copy) } }
  return (copies.map { UnsafePointer($0) } + [nil]).withUnsafeBufferPointer { body($0.baseAddress) }
}
