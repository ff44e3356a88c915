import Foundation
import Synchronization

/// Runs tasks that nobody waits for, on threads that yield to all others: while the cores are busy with requests, mails take what is left.
package final class BackgroundExecutor: TaskExecutor {
  /// The nice value (nice(2)), which on Linux each thread has of its own.
  private static let priority: Int32 = 10

  /// What the threads share: they must not keep the executor alive.
  private final class Queue: Sendable {
    let jobs = Mutex<[UnownedJob]>([])
    let count = DispatchSemaphore(value: 0)
  }

  private let queue = Queue()
  private let threads: Int

  init(threads: Int) {
    self.threads = threads
    for _ in 0..<threads {
      Thread.detachNewThread { [weak self, queue] in
        Self.lowerPriority()
        while true {
          queue.count.wait()
          guard let self else { return }
          if let job = queue.jobs.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
          // Whoever has woken meanwhile waits for no more than a job: the scheduler alone would let this thread use up its milliseconds.
          sched_yield()
        }
      }
    }
  }

  deinit { for _ in 0..<threads { queue.count.signal() } }

  package func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.jobs.withLock { $0.append(job) }
    queue.count.signal()
  }

  /// For the thread that calls.
  package static func lowerPriority() { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, priority) }
}
