import Foundation
import ServiceLifecycle
import Synchronization

/// Limits what a channel sends: in a bounded number of slots, at no more than the agreed rate, and with a circuit breaker.
final class SendGate: Sendable {
  private struct State {
    var busySlots = 0
    var waiting: [CheckedContinuation<Void, Never>] = []
    /// When the next message may be sent, if there is a rate.
    var nextTurn = Date.distantPast
    var breaker: CircuitBreaker
    var isStopping = false
  }

  private let now: @Sendable () -> Date
  private let sleep: @Sendable (Duration) async throws -> Void
  private let slots: Int
  /// Seconds from one message to the next; `nil` without a rate.
  private let interval: TimeInterval?
  private let state: Mutex<State>

  /// - Parameters:
  ///   - prefetch: How many more slots there are than connections, if there is no rate.
  ///   - sleep: Waits for a turn, and throws on graceful shutdown.
  init(
    _ policy: OutboxPolicy, prefetch: Int = 0, now: @escaping @Sendable () -> Date, sleep: (@Sendable (Duration) async throws -> Void)? = nil
  ) {
    self.now = now
    self.sleep = sleep ?? { duration in try await cancelWhenGracefulShutdown { try await Task.sleep(for: duration) } }
    interval = policy.rate.map { Double($0.seconds) / Double($0.count) }
    slots = policy.connections + (interval == nil ? prefetch : 0)
    state = Mutex(State(breaker: CircuitBreaker(policy)))
  }

  /// Whether the breaker is not closed, so that one message probes the receiver.
  var isProbing: Bool { state.withLock { !$0.breaker.isClosed } }

  /// When the breaker lets the next attempt through; `nil` if that is now.
  var opensAt: Date? { state.withLock { $0.breaker.blockedUntil(at: now()) } }

  /// Lets a message probe the receiver now if the last failure was before `date`.
  func allowProbe(ifFailedBefore date: Date) { state.withLock { $0.breaker.allowProbe(ifFailedBefore: date) } }

  /// What became of waiting for a slot.
  enum Admission: ~Copyable {
    case slot(Slot)
    /// The breaker is open, or the service is stopping.
    case refused
    /// The slot's turn would come after the deadline.
    case tooLate
  }

  /// Waits for a free slot and, with a rate, for its turn.
  func slot(before deadline: Date) async -> Admission {
    await takeSlot()
    let slot = Slot(gate: self)
    while true {
      guard canSend else { return .refused }
      guard let turn = takeTurn(before: deadline) else { return .tooLate }
      let wait = turn.timeIntervalSince(now())
      if wait > 0 {
        do { try await sleep(.seconds(wait)) } catch { return .refused }
      }
      // A turn more than a second late was missed while the machine was suspended. Take another one, so that such messages do not all go at once.
      guard let interval, now().timeIntervalSince(turn) > max(interval, 1) else { return canSend ? .slot(slot) : .refused }
    }
  }

  /// The right to send one message. It ends with the value's lifetime.
  struct Slot: ~Copyable, Sendable {
    fileprivate let gate: SendGate

    deinit { gate.freeSlot() }
  }

  /// Closes the breaker, because the receiver answered.
  func recordAnswer() {
    state.withLock { $0.breaker.recordSuccess() }
    admitWaiters()
  }

  /// Counts a failure of the receiver for the breaker; returns `false` if the service is stopping, which may be the reason.
  func recordFailure(of job: Job) -> Bool {
    state.withLock { state in
      guard !state.isStopping else { return false }
      state.breaker.recordFailure(of: job.id, at: now())
      return true
    }
  }

  /// Forgets the times that were recorded while the clock was ahead.
  func clockWasSetBack() {
    state.withLock { state in
      state.nextTurn = .distantPast
      state.breaker.endWait()
    }
    admitWaiters()
  }

  /// Lets all that wait for a slot or a turn return.
  func stop() {
    state.withLock { $0.isStopping = true }
    admitWaiters()
  }

  private var canSend: Bool { state.withLock { !$0.isStopping && $0.breaker.blockedUntil(at: now()) == nil } }

  private func takeSlot() async {
    let isFree = state.withLock { state in
      guard state.waiting.isEmpty, state.busySlots < limit(state) else { return false }
      state.busySlots += 1
      return true
    }
    if isFree { return }
    await withCheckedContinuation { continuation in
      state.withLock { $0.waiting.append(continuation) }
      admitWaiters()
    }
  }

  private func freeSlot() {
    state.withLock { $0.busySlots -= 1 }
    admitWaiters()
  }

  /// How many slots may be busy. While the breaker is not closed only one may run, as the probe; on shutdown all are resumed so that they can
  /// return.
  private func limit(_ state: borrowing State) -> Int { state.isStopping ? .max : state.breaker.isClosed ? slots : 1 }

  /// Resumes those that have waited longest while slots are free.
  private func admitWaiters() {
    let admitted = state.withLock { state in
      let count = min(state.waiting.count, max(0, limit(state) - state.busySlots))
      state.busySlots += count
      defer { state.waiting.removeFirst(count) }
      return state.waiting.prefix(count)
    }
    for continuation in admitted { continuation.resume() }
  }

  /// Returns when the message may be sent, or `nil` if that is after the deadline.
  private func takeTurn(before deadline: Date) -> Date? {
    guard let interval else { return now() <= deadline ? now() : nil }
    return state.withLock { state in
      // There are never more turns than slots: a turn further ahead dates from before the clock was set back.
      let latest = now().addingTimeInterval(Double(slots + 1) * interval)
      let turn = max(now(), min(state.nextTurn, latest))
      guard turn <= deadline else { return nil }
      state.nextTurn = turn.addingTimeInterval(interval)
      return turn
    }
  }
}
