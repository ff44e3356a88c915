public import Foundation
public import Prometheus
import ServiceLifecycle
import Synchronization

/// Sends emails through the mail backend: in a bounded number of slots, at no more than the agreed rate, and with a circuit breaker.
public final class MailSender: Sendable {
  private struct State {
    var busySlots = 0
    var waiting: [CheckedContinuation<Void, Never>] = []
    /// When the next email may be sent, if there is a rate.
    var nextTurn = Date.distantPast
    var breaker: CircuitBreaker
    var isStopping = false
  }

  private let backend: any MailBackend
  let metrics: MailMetrics
  private let now: @Sendable () -> Date
  private let slots: Int
  /// Seconds from one email to the next; `nil` without a rate.
  private let interval: TimeInterval?
  private let state: Mutex<State>

  public init(_ backend: any MailBackend, policy: OutboxPolicy, registry: Registry, now: @escaping @Sendable () -> Date) {
    self.backend = backend
    metrics = MailMetrics(registry)
    self.now = now
    interval = policy.rate.map { Double($0.seconds) / Double($0.count) }
    slots = policy.connections + (interval == nil ? backend.prefetch : 0)
    state = Mutex(State(breaker: CircuitBreaker(policy)))
  }

  /// Whether the breaker is not closed, so that one email probes the server.
  var isProbing: Bool { state.withLock { !$0.breaker.isClosed } }

  /// When the breaker lets the next attempt through; `nil` if that is now.
  var opensAt: Date? { state.withLock { $0.breaker.blockedUntil(at: now()) } }

  /// Lets an email probe the server now if the last failure was before `date`.
  func allowProbe(ifFailedBefore date: Date) { state.withLock { $0.breaker.allowProbe(ifFailedBefore: date) } }

  /// What became of an email that had a slot.
  enum SendResult {
    case sent
    case failed(MailError)
    /// The service is stopping, so the failure says nothing about the email or the server.
    case notAttempted
  }

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
    let slot = Slot(sender: self)
    while true {
      guard canSend else { return .refused }
      guard let turn = takeTurn(before: deadline) else { return .tooLate }
      let wait = turn.timeIntervalSince(now())
      if wait > 0 {
        do { try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(wait)) } } catch { return .refused }
      }
      // A turn more than a second late was missed while the machine was suspended. Take another one, so that such emails do not all go at once.
      guard let interval, now().timeIntervalSince(turn) > max(interval, 1) else { return canSend ? .slot(slot) : .refused }
    }
  }

  /// The right to send one email. It ends with the value's lifetime.
  struct Slot: ~Copyable, Sendable {
    fileprivate let sender: MailSender

    func send(_ message: EmailMessage, of job: Job) async -> SendResult { await sender.send(message, of: job) }

    deinit { sender.freeSlot() }
  }

  /// Forgets the times that were recorded while the clock was ahead.
  func clockWasSetBack() {
    state.withLock { state in
      state.nextTurn = .distantPast
      state.breaker.endWait()
    }
    admitWaiters()
  }

  /// Lets all that wait for a slot or a turn return, and stops the backend.
  func stop() {
    state.withLock { $0.isStopping = true }
    admitWaiters()
    backend.stop()
  }

  private var canSend: Bool { state.withLock { !$0.isStopping && $0.breaker.blockedUntil(at: now()) == nil } }

  private func send(_ message: EmailMessage, of job: Job) async -> SendResult {
    let start = ContinuousClock.now
    defer { metrics.durations.observe((ContinuousClock.now - start) / .seconds(1)) }
    do {
      try await backend.send(message)
    } catch .unavailable(let reason) {
      return state.withLock { state in
        guard !state.isStopping else { return .notAttempted }
        state.breaker.recordFailure(of: job.id, at: now())
        return .failed(.unavailable(reason: reason))
      }
    } catch {
      // The server answered, so it is available.
      closeBreaker()
      return .failed(error)
    }
    closeBreaker()
    return .sent
  }

  private func closeBreaker() {
    state.withLock { $0.breaker.recordSuccess() }
    admitWaiters()
  }

  private func takeSlot() async {
    await withCheckedContinuation { continuation in
      state.withLock { $0.waiting.append(continuation) }
      admitWaiters()
    }
  }

  private func freeSlot() {
    state.withLock { $0.busySlots -= 1 }
    admitWaiters()
  }

  /// Resumes those that have waited longest while slots are free. While the breaker is not closed only one may run, as the probe; on shutdown
  /// all are resumed so that they can return.
  private func admitWaiters() {
    let admitted = state.withLock { state in
      let limit = state.isStopping ? Int.max : state.breaker.isClosed ? slots : 1
      let count = min(state.waiting.count, max(0, limit - state.busySlots))
      state.busySlots += count
      defer { state.waiting.removeFirst(count) }
      return state.waiting.prefix(count)
    }
    for continuation in admitted { continuation.resume() }
  }

  /// Returns when the email may be sent, or `nil` if that is after the deadline.
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
