import CLibPQ
import Foundation

// What a pipeline sends and receives.
extension PostgresSession {
  /// The server's reply to one statement.
  private enum Reply {
    case rows(Rows)
    case error(SQLError)
    /// A statement before it failed.
    case skipped
  }

  func send(_ command: Command) throws(Failure) {
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

  func sync() throws(Failure) {
    guard PQpipelineSync(connection) == 1 else { throw lost() }
  }

  func replies(to commands: [Command], until deadline: ContinuousClock.Instant) throws(Failure) -> Result<[Rows], SQLError> {
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
  func syncError(until deadline: ContinuousClock.Instant) throws(Failure) -> SQLError? {
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

  func lost() -> Failure { .lost(reason: firstLine(String(cString: PQerrorMessage(connection)))) }
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
