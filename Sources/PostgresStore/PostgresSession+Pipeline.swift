import CLibPQ
import Foundation

// A session is always in pipeline mode: all that is sent before a sync is one transaction, and costs one round trip.
extension PostgresSession {
  /// The server's reply to one statement.
  private enum Reply {
    case rows(Rows)
    case error(SQLError)
    /// A statement before it failed.
    case skipped
  }

  /// A transaction whose commit was sent.
  struct Transaction {
    var id: String
    /// The timeline of the server that assigned the id; on another one the same id may be another transaction's.
    var timeline: String?
    /// The rows of each command of each request.
    var results: [[Rows]]
  }

  /// Why a transaction was not committed, or may not have been.
  enum CommitFailure: Error {
    /// A statement or the commit failed, so nothing was changed.
    case sql(SQLError)
    /// The session ended before the commit was sent, so nothing was changed.
    case session(Failure)
    /// The session ended after the commit was sent.
    case unknown(Failure, Transaction)
  }

  private static let transactionID = Statement("password_reset_xid", "SELECT pg_current_xact_id()::text")

  /// Runs each request in its own transaction, and returns the result of each.
  func runSeparately(_ requests: [[Command]], until deadline: ContinuousClock.Instant) throws(Failure) -> [Result<[Rows], SQLError>] {
    for commands in requests {
      for command in commands { try send(command) }
      try sync()
    }
    var results: [Result<[Rows], SQLError>] = []
    for commands in requests {
      var result = try replies(to: commands, until: deadline)
      if let error = try syncError(until: deadline), case .success = result { result = .failure(error) }
      results.append(result)
    }
    return results
  }

  /// Runs requests that change nothing, and returns the result of each.
  ///
  /// They share a transaction, because both sides write to the socket once per transaction, and each write wakes the other
  /// side. Each statement still sees everything that was committed before it ran. An error ends the transaction, so the
  /// requests after it run in another one.
  func runEach(_ requests: [[Command]], until deadline: ContinuousClock.Instant) throws(Failure) -> [Result<[Rows], SQLError>] {
    var results: [Result<[Rows], SQLError>] = []
    while results.count < requests.count {
      let rest = requests[results.count...]
      for command in rest.joined() { try send(command) }
      try sync()
      var hasFailed = false
      for commands in rest {
        let result = try replies(to: commands, until: deadline)
        if !hasFailed { results.append(result) }
        if case .failure = result { hasFailed = true }
      }
      if let error = try syncError(until: deadline), !hasFailed {
        results.replaceSubrange(rest.startIndex..., with: repeatElement(.failure(error), count: results.count - rest.startIndex))
      }
    }
    return results
  }

  /// Runs all requests in one transaction.
  ///
  /// It commits only when it has all results: a commit whose confirmation is lost can then be resolved by the transaction's
  /// id alone.
  func commit(_ requests: [[Command]], until deadline: ContinuousClock.Instant) throws(CommitFailure) -> [[Rows]] {
    let execution: Result<Transaction, SQLError>
    do { execution = try execute(requests, until: deadline) } catch { throw .session(error) }
    switch execution {
    case .failure(let error):
      // The sync ends the failed transaction.
      do {
        try sync()
        _ = try syncError(until: deadline)
      } catch { throw .session(error) }
      throw .sql(error)
    case .success(let transaction):
      let error: SQLError?
      do {
        try sync()
        error = try syncError(until: deadline)
      } catch { throw .unknown(error, transaction) }
      if let error { throw .sql(error) }
      return transaction.results
    }
  }

  /// Runs all requests in one transaction, and leaves it open.
  private func execute(_ requests: [[Command]], until deadline: ContinuousClock.Instant) throws(Failure) -> Result<Transaction, SQLError> {
    let begin = [Command(Self.transactionID)]
    for command in begin + requests.flatMap(\.self) { try send(command) }
    guard PQsendFlushRequest(connection) == 1 else { throw lost() }
    var results: [[Rows]] = []
    var failure: SQLError?
    for commands in [begin] + requests {
      switch try replies(to: commands, until: deadline) {
      case .success(let rows): results.append(rows)
      case .failure(let error): failure = failure ?? error
      }
    }
    if let failure { return .failure(failure) }
    let id = results.removeFirst().first?.first?.text(0) ?? ""
    return .success(Transaction(id: id, timeline: timeline, results: results))
  }

  // MARK: - Sending

  private func send(_ command: Command) throws(Failure) {
    let statement = command.statement
    onStatement?(statement.sql)
    guard let name = statement.name else {
      let sent = withCStrings(command.values) { values in
        PQsendQueryParams(connection, statement.sql, CInt(command.values.count), nil, values, nil, nil, 0)
      }
      guard sent == 1 else { throw lost() }
      return
    }
    if prepared[name] == nil {
      guard PQsendPrepare(connection, name, statement.sql, 0, nil) == 1 else { throw lost() }
      prepared[name] = false
    }
    let sent = withCStrings(command.values) { values in
      PQsendQueryPrepared(connection, name, CInt(command.values.count), values, nil, nil, 0)
    }
    guard sent == 1 else { throw lost() }
  }

  private func sync() throws(Failure) {
    guard PQpipelineSync(connection) == 1 else { throw lost() }
  }

  // MARK: - Receiving

  private func replies(to commands: [Command], until deadline: ContinuousClock.Instant) throws(Failure) -> Result<[Rows], SQLError> {
    var rows: [Rows] = []
    var failure: SQLError?
    for command in commands {
      if let name = command.statement.name, prepared[name] == false {
        switch try reply(until: deadline) {
        case .rows: prepared[name] = true
        case .error(let error): (prepared[name], failure) = (nil, failure ?? error)
        case .skipped: prepared[name] = nil
        }
      }
      switch try reply(until: deadline) {
      case .rows(let result): rows.append(result)
      case .error(let error): failure = failure ?? error
      case .skipped: failure = failure ?? Self.skipped
      }
    }
    return failure.map(Result.failure) ?? .success(rows)
  }

  /// What a request gets whose statements did not run because of an error in another one.
  private static let skipped = SQLError(state: "25P02", message: "another statement of the transaction failed")

  private func reply(until deadline: ContinuousClock.Instant) throws(Failure) -> Reply {
    var reply = Reply.skipped
    while let result = try next(until: deadline) {
      switch PQresultStatus(result) {
      case PGRES_TUPLES_OK, PGRES_COMMAND_OK: reply = .rows(Rows(result))
      case PGRES_PIPELINE_ABORTED: PQclear(result)
      default: reply = .error(try takeError(result))
      }
    }
    return reply
  }

  /// Returns the error with which the transaction ended, if there is one.
  private func syncError(until deadline: ContinuousClock.Instant) throws(Failure) -> SQLError? {
    var error: SQLError?
    while true {
      guard let result = try next(until: deadline) else {
        guard error != nil else { throw lost() }
        continue
      }
      guard PQresultStatus(result) == PGRES_PIPELINE_SYNC else {
        error = try takeError(result)
        continue
      }
      PQclear(result)
      return error
    }
  }

  /// Sends what is still to be sent, and returns the next result; `nil` follows the last result of a statement.
  private func next(until deadline: ContinuousClock.Instant) throws(Failure) -> OpaquePointer? {
    while PQisBusy(connection) == 1 {
      let unsent = PQflush(connection)
      guard unsent >= 0 else { throw lost() }
      guard Self.wait(connection, for: unsent == 1 ? POLLIN | POLLOUT : POLLIN, until: deadline) else { throw .silent }
      guard PQconsumeInput(connection) == 1 else { throw lost() }
    }
    return PQgetResult(connection)
  }

  /// Returns the error in a result, or throws if it ends the session.
  private func takeError(_ result: OpaquePointer) throws(Failure) -> SQLError {
    defer { PQclear(result) }
    let error = SQLError(result)
    guard PQstatus(connection) == CONNECTION_OK, !error.isOfSession else { throw .lost(reason: error.message) }
    return error
  }

  private func lost() -> Failure { .lost(reason: firstLine(String(cString: PQerrorMessage(connection)))) }
}

extension SQLError {
  fileprivate init(_ result: OpaquePointer) {
    func field(_ code: Int32) -> String? { PQresultErrorField(result, code).map { String(cString: $0) } }
    self.init(
      state: field(Int32(UInt8(ascii: "C"))) ?? "08006",
      message: firstLine(field(Int32(UInt8(ascii: "M"))) ?? String(cString: PQresultErrorMessage(result))))
  }

  /// Whether the server ends the session with this error.
  fileprivate var isOfSession: Bool { ["57P01", "57P02", "57P03", "57P05", "25P03"].contains(state) || state.hasPrefix("08") }
}

/// Returns the first line of a message of libpq.
func firstLine(_ message: String) -> String {
  message.split(separator: "\n").first.map(String.init) ?? "the connection to the PostgreSQL server is lost"
}
