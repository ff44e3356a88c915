import Foundation
import Synchronization

/// Runs blocking calls over the network, each on a thread with a connection that is kept open.
///
/// A wait for the network must not block a dispatch thread, which the database needs. When there has been no call for a minute, the
/// thread ends and its connection closes. No thread pool is used, because a pool keeps its threads.
package final class ConnectionThreads<Call: Sendable, Reply: Sendable>: Sendable {
  private struct State {
    var queue: [PendingCall] = []
    var connections = 0
    var idle = 0
    var isStopping = false
  }

  private typealias PendingCall = (call: Call, done: CheckedContinuation<Reply?, Never>)

  private let limit: Int
  private let idleLimit: Int
  private let connect: @Sendable () -> (Call) -> Reply
  private let state = Mutex(State())
  /// Is signaled once for each call in the queue.
  private let pendingSignal = DispatchSemaphore(value: 0)

  /// Creates the object, without threads.
  /// - Parameters:
  ///   - limit: The highest number of threads at once.
  ///   - idleLimit: The seconds after which a thread without a call ends.
  ///   - connect: Returns what makes the calls of one thread. It is called on that thread.
  package init(limit: Int, idleLimit: Int = 60, connect: @escaping @Sendable () -> (Call) -> Reply) {
    self.limit = limit
    self.idleLimit = idleLimit
    self.connect = connect
  }

  /// Makes a call as soon as a thread is free, and returns its reply; `nil` after ``stop()``.
  package func run(_ call: Call) async -> Reply? { await withCheckedContinuation { enqueue((call, $0)) } }

  /// Ends the wait of all calls that have not begun, and refuses further ones.
  package func stop() {
    let calls = state.withLock { state in
      state.isStopping = true
      defer { state.queue = [] }
      return state.queue
    }
    for call in calls { call.done.resume(returning: nil) }
  }

  private func enqueue(_ call: PendingCall) {
    let needsThread = state.withLock { state -> Bool? in
      guard !state.isStopping else { return nil }
      state.queue.append(call)
      guard state.idle < state.queue.count, state.connections < limit else { return false }
      state.connections += 1
      return true
    }
    guard let needsThread else { return call.done.resume(returning: nil) }
    pendingSignal.signal()
    if needsThread {
      Thread.detachNewThread {
        lowerThreadPriority()
        self.work()
      }
    }
  }

  private func work() {
    let perform = connect()
    while let next = nextCall() { next.done.resume(returning: perform(next.call)) }
  }

  /// Returns the next call, or `nil` if there is none for ``idleLimit`` seconds.
  private func nextCall() -> PendingCall? {
    state.withLock { $0.idle += 1 }
    while true {
      let isSignaled = pendingSignal.wait(timeout: .now() + .seconds(idleLimit)) == .success
      let call = state.withLock { state -> PendingCall?? in
        // Wait again after a signal for a call that stop() removed, and after a timeout if a call has just been added.
        guard isSignaled != state.queue.isEmpty else { return .none }
        state.idle -= 1
        if isSignaled { return state.queue.removeFirst() }
        state.connections -= 1
        return .some(nil)
      }
      if let call { return call }
    }
  }
}
