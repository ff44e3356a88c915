import Foundation
import PasswordReset
import Synchronization

/// The session of a ``PostgresConnection``, which is replaced when it is lost.
///
/// It is `@unchecked Sendable` because a session belongs to one thread at a time. It is safe because the connection calls
/// all methods on its serial queue, and nothing else has a reference.
final class ReconnectingSession: @unchecked Sendable {
  /// How long the server may take to answer a batch.
  private static let answerTime = Duration.seconds(8)
  /// The waits between attempts to connect, in milliseconds: the first one doubles up to the longest.
  private static let firstDelay = 50
  private static let longestDelay = 2000
  /// How often a transaction is run again that lost against another one.
  private static let attempts = 5

  private let address: PostgresAddress
  private let onStatement: (@Sendable (String) -> Void)?
  var session: PostgresSession? { didSet { isOpen.store(session != nil, ordering: .relaxed) } }
  let isOpen: Atomic<Bool>
  /// How many sessions there have been.
  let sessions: Atomic<Int>
  private var failures = 0
  /// Whether the last write failed because of the server's disk.
  let hasDiskFailed = Atomic(false)
  /// Receives why there is no connection while ``write(_:)`` waits for one, and `nil` when there is one.
  var onOutage: (StoreError?) -> Void = { _ in }

  init(_ address: PostgresAddress, session: PostgresSession?, onStatement: (@Sendable (String) -> Void)?) {
    self.address = address
    self.session = session
    isOpen = Atomic(session != nil)
    sessions = Atomic(session == nil ? 0 : 1)
    self.onStatement = onStatement
  }

  // MARK: - Reads

  /// Runs each request, and finishes it.
  /// - Returns: why the connection cannot be used any more, or `nil` if it can.
  func read(_ batch: [PostgresConnection.Request], inOneTransaction: Bool) -> StoreError? {
    for isLastAttempt in [false, true] {
      let results: [Result<[Rows], SQLError>]
      do {
        let (session, requests, deadline) = (try connected(), batch.map(\.commands), ContinuousClock.now + Self.answerTime)
        results = try inOneTransaction ? session.runEach(requests, until: deadline) : session.runSeparately(requests, until: deadline)
      } catch let error as PostgresSession.Failure {
        session = nil
        // The server may only have closed an idle connection.
        if case .lost = error, !isLastAttempt { continue }
        return fail(batch, .unavailable(reason: error.reason))
      } catch {
        return fail(batch, .unavailable(reason: "\(error)"))
      }
      if !isLastAttempt, results.contains(where: \.isStale) {
        session = nil
        continue
      }
      for (request, result) in zip(batch, results) { request.finish(result.mapError(StoreError.init)) }
      return nil
    }
    return nil
  }

  // MARK: - Writes

  /// Commits the requests together. If one of them fails, it commits them one by one, so that one bad write does not fail
  /// the others.
  /// - Returns: why the connection cannot be used any more, or `nil` if it can.
  func write(_ batch: [PostgresConnection.Request]) -> StoreError? {
    switch commit(batch) {
    case .committed(let results):
      hasDiskFailed.store(false, ordering: .relaxed)
      for (request, rows) in zip(batch, results) { request.finish(.success(rows)) }
      return nil
    case .failed(let error) where error.isOfOneRequest && batch.count > 1:
      for (index, request) in batch.enumerated() {
        if let outage = write([request]) { return fail(Array(batch[(index + 1)...]), outage) }
      }
      return nil
    case .failed(let error):
      _ = fail(batch, StoreError(error))
      return nil
    case .outage(let error): return fail(batch, error)
    }
  }

  private enum Commit {
    case committed([[Rows]])
    case failed(SQLError)
    case outage(StoreError)
  }

  private func commit(_ batch: [PostgresConnection.Request]) -> Commit {
    let requests = batch.map(\.commands)
    // A request with a follow-up is alone in its batch.
    let followUp = batch.first?.followUp
    // A transaction that loses again and again must not keep its callers for longer than an answer may take.
    let deadline = ContinuousClock.now + Self.answerTime
    var result = commitOnce(requests, followUp)
    for _ in 1..<Self.attempts where ContinuousClock.now < deadline {
      switch result {
      case .conflict:
        // A short random wait, so that two transactions do not meet again.
        usleep(.random(in: 1000...20_000))
        result = commitOnce(requests, followUp)
      case .lost: result = commitOnce(requests, followUp)
      case .committed, .failed, .outage: break
      }
    }
    switch result {
    case .committed(let rows): return .committed(rows)
    case .conflict(let error), .failed(let error): return .failed(error)
    case .lost(let error), .outage(let error): return .outage(error)
    }
  }

  enum Attempt {
    case committed([[Rows]])
    case failed(SQLError)
    /// Another transaction won.
    case conflict(SQLError)
    /// Nothing was committed, and a new connection may work.
    case lost(StoreError)
    case outage(StoreError)
  }

  private func commitOnce(_ requests: [[Command]], _ followUp: FollowUp?) -> Attempt {
    do {
      return .committed(try connected().commit(requests, followUp: followUp, until: .now + Self.answerTime))
    } catch let failure as PostgresSession.CommitFailure {
      switch failure {
      case .sql(let error): return attempt(error)
      case .session(.lost(let reason)): return lose(.lost(.unavailable(reason: reason)))
      case .session(.silent): return lose(.outage(.unavailable(reason: PostgresSession.Failure.silent.reason)))
      case .unknown(let failure, let transaction): return resolve(transaction, failure)
      }
    } catch {
      return .outage(.unavailable(reason: "\(error)"))
    }
  }

  private func attempt(_ error: SQLError) -> Attempt {
    if error.isConflict { return .conflict(error) }
    if error.isStale {
      // An entry may also fail like that for its own reason, in each attempt. A new session serves the next reset.
      return lose(error.afterReset != nil && !error.isOfPooler ? .failed(error) : .lost(StoreError(error)))
    }
    // Another host may accept writes after a failover.
    if error.isReadOnly { session = nil }
    if error.isOfDisk { hasDiskFailed.store(true, ordering: .relaxed) }
    return .failed(error)
  }

  private func lose(_ attempt: Attempt) -> Attempt {
    session = nil
    return attempt
  }

  // MARK: - Connecting

  func connected() throws(StoreOpenError) -> PostgresSession {
    if let session { return session }
    let new = try PostgresSession(address, onStatement: onStatement)
    session = new
    sessions.add(1, ordering: .relaxed)
    failures = 0
    return new
  }

  /// Connects again.
  /// - Returns: why there is no connection, or `nil` if there is one.
  func reconnect() -> StoreError? {
    do {
      _ = try connected()
      return nil
    } catch {
      return .unavailable(reason: "\(error)")
    }
  }

  /// Returns how many milliseconds to wait before the next attempt to connect. It varies, so that many instances do not
  /// connect at the same moment.
  func nextDelay() -> Int {
    let delay = min(Self.firstDelay << min(failures, 10), Self.longestDelay)
    failures += 1
    return .random(in: delay / 2...delay)
  }

  private func fail(_ batch: [PostgresConnection.Request], _ error: StoreError) -> StoreError {
    for request in batch { request.finish(.failure(error)) }
    return error
  }
}

extension Result<[Rows], SQLError> {
  fileprivate var isStale: Bool {
    if case .failure(let error) = self { error.isStale } else { false }
  }
}
