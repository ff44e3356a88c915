import Dispatch
import Foundation
import PasswordReset
import Synchronization

/// A connection that many tasks share. Its thread sends all requests that arrived while it was busy as one pipeline, and
/// connects again when the connection is lost.
///
/// Until it is connected again, requests fail at once.
final class PostgresConnection: Sendable {
  /// What becomes of the requests that are sent together.
  enum Mode {
    /// They change nothing, and are repeated once if the connection is lost.
    case reads
    /// Each is one transaction: two transactions that count several clients in different orders would wait for each other.
    /// They are repeated once as well, because a client may be counted twice.
    case counts
    /// All together are one transaction, so that one sync of the disk serves all of them.
    case writes
  }

  struct Request: Sendable {
    var commands: [Command]
    /// What follows in the same transaction, which is then not shared with other requests.
    var followUp: FollowUp?
    var finish: @Sendable (Result<[Rows], StoreError>) -> Void
  }

  private struct State {
    var pending: [Request] = []
    var isRunning = false
    /// Why there is no connection. Until a new one is made, requests fail with it.
    var outage: StoreError?
  }

  /// If this many requests are waiting, the server is seconds behind.
  private static let queueLimit = 10_000
  /// Limits the length of one transaction.
  private static let batchLimit = 500

  private let mode: Mode
  private let queue: DispatchQueue
  private let state = Mutex(State())
  private let session: ReconnectingSession

  init(_ mode: Mode, _ address: PostgresAddress, session: PostgresSession?, onStatement: (@Sendable (String) -> Void)?) {
    self.mode = mode
    queue = DispatchQueue(label: "password-reset.postgresql")
    self.session = ReconnectingSession(address, session: session, onStatement: onStatement)
    self.session.onOutage = { [weak self] outage in self?.state.withLock { $0.outage = outage } }
  }

  /// Why there is no connection at the moment, or `nil` if none was missed.
  var outage: StoreError? { state.withLock(\.outage) }

  /// Adds the state of this connection to that of others for the same purpose.
  func add(to total: inout ConnectionState) {
    total.open += session.isOpen.load(ordering: .relaxed) ? 1 : 0
    total.waiting += state.withLock(\.pending.count)
    total.reconnects += max(0, session.sessions.load(ordering: .relaxed) - 1)
  }

  /// Whether the last write failed because of the server's disk.
  var hasDiskFailed: Bool { session.hasDiskFailed.load(ordering: .relaxed) }

  /// Runs the commands of one request in one transaction, and returns the rows of each.
  /// - Parameter followUp: what to run afterwards in the same transaction.
  /// - Parameter isRefusable: whether to fail with ``StoreError/overloaded`` when too many requests are waiting.
  func run(_ commands: [Command], followUp: FollowUp? = nil, isRefusable: Bool) async throws(StoreError) -> [Rows] {
    if commands.contains(where: \.hasNUL) { throw .unavailable(reason: "a text contains NUL, which PostgreSQL cannot store") }
    let result: Result<[Rows], StoreError> = await withCheckedContinuation { caller in
      add(Request(commands: commands, followUp: followUp) { caller.resume(returning: $0) }, isRefusable: isRefusable)
    }
    return try result.get()
  }

  private func add(_ request: Request, isRefusable: Bool) {
    enum Next { case start, wait, fail(StoreError) }
    let next = state.withLock { state -> Next in
      if let outage = state.outage { return .fail(outage) }
      guard !isRefusable || state.pending.count < Self.queueLimit else { return .fail(.overloaded) }
      state.pending.append(request)
      defer { state.isRunning = true }
      return state.isRunning ? .wait : .start
    }
    switch next {
    case .start: queue.async { self.runAll() }
    case .wait: break
    case .fail(let error): request.finish(.failure(error))
    }
  }

  private func runAll() {
    while let batch = takeBatch() {
      let outage =
        switch mode {
        case .reads: session.read(batch, inOneTransaction: true)
        case .counts: session.read(batch, inOneTransaction: false)
        case .writes: session.write(batch)
        }
      if let outage { beginOutage(outage) }
    }
  }

  private func takeBatch() -> [Request]? {
    state.withLock { state in
      guard !state.pending.isEmpty else {
        state.isRunning = false
        return nil
      }
      let shared = state.pending.prefix(Self.batchLimit).prefix { $0.followUp == nil }
      let batch = shared.isEmpty ? Array(state.pending.prefix(1)) : Array(shared)
      state.pending.removeFirst(batch.count)
      return batch
    }
  }

  /// Fails the waiting requests and all new ones until the connection is back.
  private func beginOutage(_ outage: StoreError) {
    let waiting = state.withLock { state in
      state.outage = outage
      defer { state.pending = [] }
      return state.pending
    }
    for request in waiting { request.finish(.failure(outage)) }
    reconnectLater()
  }

  private func reconnectLater() {
    queue.asyncAfter(deadline: .now() + .milliseconds(session.nextDelay())) { [weak self] in self?.reconnect() }
  }

  private func reconnect() {
    switch session.reconnect() {
    case nil: state.withLock { $0.outage = nil }
    case let outage?:
      state.withLock { $0.outage = outage }
      reconnectLater()
    }
  }
}
