import Dispatch
import Foundation

/// The executor, the clock and the random numbers of one schedule, and what the checker knows.
///
/// It is not protected by a lock: only the thread of its schedule uses it.
final class World: @unchecked Sendable {
  private struct Sleeper {
    var id: Int
    /// The process whose shutdown ends the sleep.
    var process: Int?
    var deadline: Double
    var continuation: UnsafeContinuation<Void, Never>
  }

  let executor = SimulatedExecutor()
  let plan: Plan
  var random: RandomSource
  var ledger = Ledger()
  /// The lines of the trace, or `nil` if no one reads them.
  private(set) var trace: [String]?
  /// The seconds since the start that no one can set back.
  private(set) var elapsed: Double = 0
  /// How far the clock differs from ``elapsed``.
  private var clockOffset: Double = 1_800_000_000
  private var sleepers: [Sleeper] = []
  private var cancelledSleeps: Set<Int> = []
  private var endedSleeps: Set<Int> = []
  private var lastSleeper = 0
  private var parked: [UnsafeContinuation<Void, Never>] = []
  /// Since when tasks are ready that the schedule did not run, or `nil` if it ran all.
  private var lateSince: Double?
  /// How many calls run on other threads.
  private var outside = 0
  /// Whether faults still happen.
  var hasFaults = true
  var isMailServerDown = false
  var isReceiverDown = false
  /// The links in the emails that were delivered: the key and the token.
  var inbox: [String] = []

  init(seed: UInt64, isTraced: Bool) {
    var random = RandomSource(seed: seed)
    plan = Plan(&random)
    self.random = random
    trace = isTraced ? [] : nil
  }

  func log(_ line: @autoclosure () -> String) {
    guard trace != nil else { return }
    trace?.append("\((elapsed * 1000).rounded() / 1000) \(line())")
  }

  // MARK: - The clock

  var now: Date { Date(timeIntervalSince1970: clockOffset + elapsed) }

  func setClock(back seconds: Double) {
    clockOffset -= seconds
    ledger.clockChanged(at: elapsed)
  }

  /// The time until the next task wakes up, or `nil` if none sleeps.
  var nextWakeUp: Double? { sleepers.map(\.deadline).min().map { max(0, $0 - elapsed) } }

  /// Lets time pass at once, as when the machine was suspended. All that slept until then wake up.
  func leap(_ seconds: Double) {
    elapsed += seconds
    // For the tasks that wait to run, the process stands still.
    if let lateSince, elapsed - lateSince > 1 { ledger.leaped() }
    wakeUp()
  }

  private func wakeUp() {
    // Rounding must not leave a deadline that is ahead by less than the clock can show.
    let latest = elapsed + 1e-6
    let due = sleepers.filter { $0.deadline <= latest }
    sleepers.removeAll { $0.deadline <= latest }
    for sleeper in due { sleeper.continuation.resume() }
  }

  /// Waits, or throws if the task is cancelled or ``endSleeps(of:)`` is called for the process.
  func sleep(_ duration: Duration, process: Int? = nil) async throws {
    try Task.checkCancellation()
    lastSleeper += 1
    let id = lastSleeper
    await withTaskCancellationHandler {
      await withUnsafeContinuation { continuation in
        if cancelledSleeps.remove(id) != nil { return continuation.resume() }
        // A sleep never ends early.
        let deadline = elapsed + max(duration / .seconds(1), 0.0001)
        sleepers.append(Sleeper(id: id, process: process, deadline: deadline, continuation: continuation))
      }
    } onCancel: {
      cancelSleep(id)
    }
    try Task.checkCancellation()
    if endedSleeps.remove(id) != nil { throw CancellationError() }
  }

  /// Ends the sleeps that a process's shutdown ends.
  func endSleeps(of process: Int) {
    let ended = sleepers.filter { $0.process == process }
    sleepers.removeAll { $0.process == process }
    for sleeper in ended {
      endedSleeps.insert(sleeper.id)
      sleeper.continuation.resume()
    }
  }

  /// Waits, whether or not the task is cancelled.
  func pause(_ seconds: Double) async {
    lastSleeper += 1
    let id = lastSleeper
    await withUnsafeContinuation { sleepers.append(Sleeper(id: id, deadline: elapsed + seconds, continuation: $0)) }
  }

  private func cancelSleep(_ id: Int) {
    guard let index = sleepers.firstIndex(where: { $0.id == id }) else {
      cancelledSleeps.insert(id)
      return
    }
    sleepers.remove(at: index).continuation.resume()
  }

  // MARK: - The tasks

  /// Lets other tasks run first, in an order that the schedule draws.
  func park() async { await withUnsafeContinuation { parked.append($0) } }

  /// Runs up to `limit` jobs, and returns whether none is left.
  @discardableResult
  func run(limit: Int = .max) -> Bool {
    var left = limit
    while true {
      let count = executor.count
      guard count + parked.count > 0 else {
        lateSince = nil
        return true
      }
      guard left > 0 else {
        lateSince = lateSince ?? elapsed
        return false
      }
      left -= 1
      let index = plan.isOrderRandom || count == 0 ? random.below(count + parked.count) : 0
      if index < count { executor.run(index) } else { parked.remove(at: index - count).resume() }
      while outside > 0 {
        outside -= 1
        if !executor.runArrival() { ledger.violate("a task did not return from another thread") }
      }
    }
  }

  /// Announces that the running task is about to wait for another thread.
  func expectArrival() { outside += 1 }

  /// Runs `work` on another thread while the schedule stands still.
  func callOutside<Value: Sendable>(_ work: @escaping @Sendable () async -> Value) async -> Value {
    expectArrival()
    return await withCheckedContinuation { continuation in
      DispatchQueue.global().async { [executor] in
        executor.waitForSuspension()
        Task.detached { continuation.resume(returning: await work()) }
      }
    }
  }
}
