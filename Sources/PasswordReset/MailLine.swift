import Foundation
import ServiceLifecycle
import Synchronization

/// The way to the mail backend: so many mails at a time, no more in a second than agreed, and a pause while the server is away.
///
/// A server that is away is no fault of a mail: after some failures in a row the line closes, single mails try it now and then, and with the
/// first that goes through it is open for all. So an outage costs the waiting mails nothing, however many they are.
final class MailLine: Sendable {
  /// How a mail fared.
  enum Result {
    case sent
    case failed(MailError)
    /// Its turn did not come, as the line has closed.
    case untried
  }

  private struct State {
    var free: Int
    var waiting: [CheckedContinuation<Void, Never>] = []
    /// When the next mail may go, with a rate.
    var nextTurn = Date.distantPast
    /// The entries that failed since the last mail that went through.
    var failing: Set<Int64> = []
    var closedUntil: Date?
    /// How often a mail tried a closed line in vain.
    var probes = 0
    var isStopping = false

    func isOpen(at now: Date) -> Bool { !isStopping && closedUntil.map { $0 <= now } ?? true }
  }

  private let backend: any MailBackend
  private let policy: OutboxPolicy
  private let now: @Sendable () -> Date
  private let state: Mutex<State>

  init(backend: any MailBackend, policy: OutboxPolicy, now: @escaping @Sendable () -> Date) {
    self.backend = backend
    self.policy = policy
    self.now = now
    state = Mutex(State(free: policy.connections + (policy.rate == nil ? backend.ahead : 0)))
  }

  /// How many entries may be in hand now.
  var allowance: Int {
    state.withLock { state in
      guard let closedUntil = state.closedUntil else { return policy.batch }
      return now() < closedUntil ? 0 : 1
    }
  }

  /// When a closed line is to be tried; nil if that is now.
  var closedUntil: Date? { state.withLock(\.closedUntil).flatMap { $0 > now() ? $0 : nil } }

  /// Has a mail written when its turn comes, and sends it.
  /// - Parameters:
  ///   - id: tells the failures of one mail from those of several.
  ///   - compose: nil if it is not to go any more.
  func send(id: Int64, _ compose: () async -> EmailMessage?) async -> Result {
    await takePlace()
    defer { leavePlace() }
    guard let turn = takeTurn() else { return .untried }
    let wait = turn.timeIntervalSince(now())
    if wait > 0 {
      do { try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(wait)) } } catch { return .untried }
    }
    guard let message = await compose() else { return .untried }
    do {
      try await backend.send(message)
      reopen()
      return .sent
    } catch .unavailable(let reason) {
      return noteFailure(of: id) ? .failed(.unavailable(reason: reason)) : .untried
    } catch {
      reopen()
      return .failed(error)
    }
  }

  /// Whoever waits for a turn gets none any more.
  func stop() {
    let waiting = state.withLock { state in
      state.isStopping = true
      defer { state.waiting = [] }
      return state.waiting
    }
    for waiter in waiting { waiter.resume() }
    backend.stop()
  }

  private func takePlace() async {
    await withCheckedContinuation { continuation in
      let mayGo = state.withLock { state in
        if state.isStopping { return true }
        if state.free > 0 {
          state.free -= 1
          return true
        }
        state.waiting.append(continuation)
        return false
      }
      if mayGo { continuation.resume() }
    }
  }

  /// The place goes to who has waited longest.
  private func leavePlace() {
    let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
      if state.waiting.isEmpty {
        state.free += 1
        return nil
      }
      return state.waiting.removeFirst()
    }
    next?.resume()
  }

  /// When the mail may go; nil if it may not.
  private func takeTurn() -> Date? {
    state.withLock { state in
      let now = now()
      guard state.isOpen(at: now) else { return nil }
      let turn = max(now, state.nextTurn)
      if let rate = policy.rate { state.nextTurn = turn.addingTimeInterval(Double(rate.seconds) / Double(rate.count)) }
      return turn
    }
  }

  private func reopen() {
    state.withLock { state in
      state.failing = []
      state.closedUntil = nil
      state.probes = 0
    }
  }

  /// False if it is no failure, as the service is stopping.
  private func noteFailure(of id: Int64) -> Bool {
    state.withLock { state in
      guard !state.isStopping else { return false }
      state.failing.insert(id)
      if let closedUntil = state.closedUntil {
        // What was under way when the line closed says nothing new.
        guard closedUntil <= now() else { return true }
        state.probes += 1
      } else if state.failing.count < max(2, policy.connections) {
        // It may be these few mails that are at fault.
        return true
      }
      state.closedUntil = now().addingTimeInterval(policy.backoff(after: state.probes + 1, longest: policy.longestProbe))
      return true
    }
  }
}
