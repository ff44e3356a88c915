import Foundation
import NIOPosix

/// Runs tasks on threads of low priority. While requests keep the cores busy, these tasks get what is left.
package final class BackgroundExecutor: TaskExecutor {
  private let threads: NIOThreadPool

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
      // Yield after every job. Without it, a request thread that has just woken up waits until this thread's time slice
      // ends.
      sched_yield()
    }
  }
}
