import CLibPQ
import Foundation

// A session is always in pipeline mode: all that is sent before a sync is one transaction, and costs one round trip.
extension PostgresSession {
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
  /// side. Each statement still sees everything that was committed before it ran. Requests may also share a statement. If that
  /// fails because of one of them, each has its own, and an error ends the transaction, so that the requests after it run in
  /// another one.
  func runEach(_ requests: [[Command]], until deadline: ContinuousClock.Instant) throws(Failure) -> [Result<[Rows], SQLError>] {
    guard requests.count > 1, case let batch = Batch(requests), batch.sharesStatements else { return try runEachAlone(requests, until: deadline) }
    let commands = batch.commands
    for command in commands { try send(command) }
    try sync()
    let replies = try replies(to: commands, until: deadline)
    let error = try syncError(until: deadline)
    switch error.map(Result.failure) ?? replies {
    case .success(let rows): return batch.results(rows).map(Result.success)
    case .failure(let error) where error.isOfOneRequest: return try runEachAlone(requests, until: deadline)
    case .failure(let error): return requests.map { _ in .failure(error) }
    }
  }

  private func runEachAlone(_ requests: [[Command]], until deadline: ContinuousClock.Instant) throws(Failure) -> [Result<[Rows], SQLError>] {
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
  /// - Parameter followUp: what follows a single request in its transaction. Its results are not returned.
  func commit(
    _ requests: [[Command]], followUp: FollowUp? = nil, until deadline: ContinuousClock.Instant
  ) throws(CommitFailure) -> [[Rows]] {
    let execution: Result<Transaction, SQLError>
    do { execution = try execute(requests, followUp, until: deadline) } catch { throw .session(error) }
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
  private func execute(
    _ requests: [[Command]], _ followUp: FollowUp?, until deadline: ContinuousClock.Instant
  ) throws(Failure) -> Result<Transaction, SQLError> {
    let batch = Batch(requests)
    switch try run([Command(Self.transactionID)] + batch.commands, until: deadline) {
    case .success(var rows):
      let id = rows.removeFirst().first?.text(0) ?? ""
      let results = batch.results(rows)
      if let error = try run(followUp, after: results, until: deadline) { return .failure(error) }
      return .success(Transaction(id: id, timeline: timeline, results: results))
    case .failure(let error): return .failure(error)
    }
  }

  /// Runs the steps that follow a request.
  /// - Returns: the error that ended them, if there was one.
  private func run(_ followUp: FollowUp?, after first: [[Rows]], until deadline: ContinuousClock.Instant) throws(Failure) -> SQLError? {
    var results = first
    let end = ContinuousClock.now + Self.followUpTime
    while let step = followUp?.next(results) {
      // An entry without a statement has no replies to wait for.
      guard !step.commands.isEmpty else {
        results.append([])
        continue
      }
      switch try run([Self.limit(until: end)] + step.commands, until: deadline) {
      case .success(let rows): results.append(Array(rows.dropFirst()))
      case .failure(var error):
        error.afterReset = step.name
        return error
      }
    }
    return nil
  }

  /// How long all steps after the first statements may take. The server then ends the statement, so that it is known which step failed.
  private static let followUpTime = Duration.seconds(5)

  /// Limits the statements of this transaction to the time that is left.
  private static func limit(until end: ContinuousClock.Instant) -> Command {
    let milliseconds = max(1, Int((end - .now) / .milliseconds(1)))
    return Command(Statement(nil, "SELECT set_config('statement_timeout', $1::text, true)"), String(milliseconds))
  }

  /// Runs commands in the open transaction, or in a new one, and leaves it open.
  private func run(_ commands: [Command], until deadline: ContinuousClock.Instant) throws(Failure) -> Result<[Rows], SQLError> {
    for command in commands { try send(command) }
    guard PQsendFlushRequest(connection) == 1 else { throw lost() }
    return try replies(to: commands, until: deadline)
  }
}
