import Foundation
import Prometheus
import ServiceLifecycle
import Synchronization

/// The way to the mail backend: so many mails at a time, no more in a second than agreed, and a pause while the server is away.
///
/// A server that is away is no fault of a mail: when several mails have failed in a row the line closes, a single one tries it now and then, and
/// with the first that goes through it is open for all. So an outage costs the waiting mails nothing, however many they are.
final class MailSender: Sendable {
  /// How a mail fared.
  enum Result {
    case sent
    case failed(MailError)
    /// It was not tried: the line has closed, or the mail is not to go any more.
    case untried
    /// Its turn comes too late.
    case late
  }

  private struct State {
    /// How many mails are being handed over, or are at hand for it.
    var busy = 0
    var waiting: [CheckedContinuation<Void, Never>] = []
    /// When the next mail may go, with a rate.
    var nextTurn = Date.distantPast
    /// The entries that failed since the last mail that went through.
    var failing: Set<Int64> = []
    var closedUntil: Date?
    /// How often a mail tried a closed line in vain.
    var probes = 0
    var isStopping = false
  }

  private let backend: any MailBackend
  private let metrics: MailMetrics
  private let policy: OutboxPolicy
  private let now: @Sendable () -> Date
  private let places: Int
  /// Seconds from one mail to the next; nil without a rate.
  private let interval: TimeInterval?
  private let state = Mutex(State())

  init(backend: any MailBackend, metrics: MailMetrics, policy: OutboxPolicy, now: @escaping @Sendable () -> Date) {
    self.backend = backend
    self.metrics = metrics
    self.policy = policy
    self.now = now
    interval = policy.rate.map { Double($0.seconds) / Double($0.count) }
    places = policy.connections + (interval == nil ? backend.ahead : 0)
  }

  /// How many entries may be in hand now. Not all need a mail, so a closed line holds them up no longer than until it is to be tried.
  var allowance: Int { closedUntil == nil ? policy.batch : 0 }

  /// When a closed line is to be tried; nil if that is now.
  var closedUntil: Date? {
    let now = now()
    // Set back, the clock must not keep it closed.
    return state.withLock(\.closedUntil).flatMap { $0 > now && $0 < now.addingTimeInterval(2 * policy.maxProbeInterval) ? $0 : nil }
  }

  /// Has a mail written when its turn comes, and sends it.
  /// - Parameters:
  ///   - id: tells the failures of one mail from those of several.
  ///   - deadline: from when on it would be of no use.
  ///   - compose: nil if it is not to go any more.
  func send(id: Int64, before deadline: Date, _ compose: () async -> EmailMessage?) async -> Result {
    await takePlace()
    defer { leavePlace() }
    while true {
      guard closedUntil == nil, mayBegin else { return .untried }
      guard let turn = takeTurn(before: deadline) else { return .late }
      let wait = turn.timeIntervalSince(now())
      if wait > 0 {
        do { try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(wait)) } } catch { return .untried }
      }
      // What stood still while its turn passed must not go out all at once.
      guard let interval, now().timeIntervalSince(turn) > interval else { break }
    }
    guard let message = await compose(), mayBegin else { return .untried }
    let start = ContinuousClock.now
    do {
      defer { metrics.durations.observe((ContinuousClock.now - start) / .seconds(1)) }
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
    state.withLock { $0.isStopping = true }
    letIn()
    backend.stop()
  }

  private var mayBegin: Bool { !state.withLock(\.isStopping) }

  private func takePlace() async {
    await withCheckedContinuation { continuation in
      state.withLock { $0.waiting.append(continuation) }
      letIn()
    }
  }

  private func leavePlace() {
    state.withLock { $0.busy -= 1 }
    letIn()
  }

  /// Gives the places that are free to who has waited longest: one alone while the line is closed, and none is needed to be turned away.
  private func letIn() {
    let next = state.withLock { state in
      let limit = state.isStopping ? Int.max : state.closedUntil == nil ? places : 1
      let count = min(state.waiting.count, max(0, limit - state.busy))
      state.busy += count
      defer { state.waiting.removeFirst(count) }
      return state.waiting.prefix(count)
    }
    for continuation in next { continuation.resume() }
  }

  /// When the mail may go; nil if that would be too late.
  private func takeTurn(before deadline: Date) -> Date? {
    guard let interval else { return now() <= deadline ? now() : nil }
    return state.withLock { state in
      // No more turns are given out than there are places: one further ahead is from before the clock was set back.
      let latest = now().addingTimeInterval(Double(places + 1) * interval)
      let turn = max(now(), min(state.nextTurn, latest))
      guard turn <= deadline else { return nil }
      state.nextTurn = turn.addingTimeInterval(interval)
      return turn
    }
  }

  private func reopen() {
    state.withLock { state in
      state.failing = []
      state.closedUntil = nil
      state.probes = 0
    }
    letIn()
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
      state.closedUntil = now().addingTimeInterval(policy.backoff(after: state.probes + 1, longest: policy.maxProbeInterval))
      return true
    }
  }
}
