import Foundation
import Logging
import ServiceLifecycle

/// Ends the process when a shutdown takes too long.
///
/// Nothing is lost: accepted requests are on disk, and jobs in progress become due again when their leases expire.
final class ShutdownWatchdog: Service {
  private let limit: Duration
  private let writer: LogWriter
  private let logger: Logger

  init(limit: Duration, writer: LogWriter, logger: Logger) {
    (self.limit, self.writer, self.logger) = (limit, writer, logger)
  }

  func run() async {
    // This returns when the shutdown starts. When the task is cancelled instead, there is no shutdown to watch.
    guard (try? await gracefulShutdown()) != nil else { return }
    // A thread and not a task, because what blocks the tasks would also block this one.
    Thread.detachNewThread { [self] in
      Thread.sleep(forTimeInterval: limit / .seconds(1))
      logger.error("The shutdown took too long; the service ends without finishing the work in progress")
      writer.flush(within: .milliseconds(300))
      // Without cleanup, because other threads still use what it would destroy.
      _exit(0)
    }
  }
}
