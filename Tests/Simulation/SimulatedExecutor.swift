import Dispatch
import Foundation
import Synchronization

/// Runs all tasks of a schedule on the thread that created it, in an order that the schedule draws.
final class SimulatedExecutor: TaskExecutor {
  private struct State {
    var jobs: [UnownedJob] = []
    /// Jobs that another thread has added: they run next, so that its work takes no time in the schedule.
    var arrived: [UnownedJob] = []
  }

  private let state = Mutex(State())
  private let arrivals = DispatchSemaphore(value: 0)
  private let departures = DispatchSemaphore(value: 0)
  private let thread = pthread_self()

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    let isHere = pthread_equal(pthread_self(), thread) != 0
    state.withLock { state in
      if isHere { state.jobs.append(job) } else { state.arrived.append(job) }
    }
    if !isHere { arrivals.signal() }
  }

  /// How many jobs could run now.
  var count: Int { state.withLock(\.jobs.count) }

  /// Runs the job with this index.
  func run(_ index: Int) { run(state.withLock { $0.jobs.remove(at: index) }) }

  /// Waits, on another thread, until the task for which it works is suspended. A task that is resumed earlier does not arrive.
  func waitForSuspension() { departures.wait() }

  /// Lets another thread work for a task until it has resumed that task, and runs the task. Returns `false` if none does for ten seconds.
  func runArrival() -> Bool {
    departures.signal()
    guard arrivals.wait(timeout: .now() + 10) == .success else { return false }
    run(state.withLock { $0.arrived.removeFirst() })
    return true
  }

  private func run(_ job: UnownedJob) { job.runSynchronously(on: asUnownedTaskExecutor()) }
}
