import Foundation
import NIOPosix
import Synchronization

/// Runs tasks on threads of low priority. While requests keep the cores busy, these tasks get what is left.
package final class BackgroundExecutor: TaskExecutor {
  /// The longest time between two yields, in nanoseconds, if no job takes longer.
  private static let yieldInterval: UInt64 = 100_000

  private let threads: NIOThreadPool
  /// When a thread yielded last, in nanoseconds since the start of the machine.
  private let lastYield = Atomic<UInt64>(0)

  /// Creates an executor with its own threads.
  package init(threads count: Int) {
    threads = NIOThreadPool(numberOfThreads: count)
    threads.start()
  }

  deinit { threads.shutdownGracefully { _ in } }

  package func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    threads.submit { [self] _ in
      lowerThreadPriority()
      job.runSynchronously(on: asUnownedTaskExecutor())
      yieldIfDue()
    }
  }

  /// Yields between two jobs. Otherwise a request thread that has just woken up would wait until this thread's time slice ends. Most jobs
  /// are short, and a yield after each one took 8 % of the time of an email (docs/decisions/0031).
  private func yieldIfDue() {
    let now = DispatchTime.now().uptimeNanoseconds
    guard now > lastYield.load(ordering: .relaxed) + Self.yieldInterval else { return }
    lastYield.store(now, ordering: .relaxed)
    sched_yield()
  }
}
