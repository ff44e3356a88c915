import Foundation

/// Writes log lines to standard error on a separate thread, so that a log reader that stalls blocks no request.
///
/// Lines that do not fit into the buffer while the reader stalls are lost. They are counted, and a log line reports how many.
final class LogWriter: Sendable {
  /// The most bytes that may wait. As many may be in the batch that the thread is writing.
  private static let limit = 4 << 20
  /// Microseconds between two writes, in which lines collect. Waking the thread for each line would cost more than the line.
  private static let pause: UInt32 = 5000

  private let condition = NSCondition()
  // These are safe because they are only used while `condition` is locked.
  private nonisolated(unsafe) var pending: [UInt8] = []
  private nonisolated(unsafe) var isWriting = false
  private nonisolated(unsafe) var unreportedLosses = 0
  private nonisolated(unsafe) var losses = 0

  private let lossNotice: @Sendable (Int) -> [UInt8]

  /// - Parameter lossNotice: makes the log line that reports how many lines were lost.
  init(lossNotice: @escaping @Sendable (Int) -> [UInt8]) {
    self.lossNotice = lossNotice
    // The thread and this object live as long as the process.
    Thread.detachNewThread { [self] in
      while true {
        let rest = Self.write(nextBatch())
        finishBatch(lost: rest.count { $0 == UInt8(ascii: "\n") })
        usleep(Self.pause)
      }
    }
  }

  /// The number of lines that were lost since the start.
  var lost: Int { condition.withLock { losses } }

  /// Adds a line to the buffer, and returns at once.
  func write(_ line: [UInt8]) {
    condition.withLock {
      guard pending.count + line.count <= Self.limit else { return lose(1) }
      if pending.isEmpty { condition.broadcast() }
      pending += line
    }
  }

  /// Waits until all lines are written, but no longer than `limit`, so that a reader that stalls cannot delay the shutdown.
  func flush(within limit: Duration) {
    let deadline = Date(timeIntervalSinceNow: limit / .seconds(1))
    condition.withLock {
      while isWriting || !pending.isEmpty, condition.wait(until: deadline) {}
    }
  }

  /// Waits for lines and takes them all, with a notice about the lines that were lost since the last one.
  private func nextBatch() -> [UInt8] {
    condition.withLock {
      while pending.isEmpty { condition.wait() }
      var batch: [UInt8] = []
      swap(&batch, &pending)
      if unreportedLosses > 0 { batch += lossNotice(unreportedLosses) }
      unreportedLosses = 0
      isWriting = true
      return batch
    }
  }

  /// Lines that cannot be written, for instance because the reader has closed the pipe, are lost as well.
  private func finishBatch(lost count: Int) {
    condition.withLock {
      isWriting = false
      lose(count)
      condition.broadcast()
    }
  }

  private func lose(_ count: Int) {
    losses += count
    unreportedLosses += count
  }

  /// Writes as much as possible, however long that takes. Returns the bytes that could not be written.
  private static func write(_ batch: [UInt8]) -> ArraySlice<UInt8> {
    var rest = batch[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if errno == EAGAIN {
        // Another process that shares the stream has made it non-blocking. Wait until it accepts bytes again.
        var descriptor = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        poll(&descriptor, 1, -1)
      } else if errno != EINTR {
        return rest
      }
    }
    return rest
  }
}
