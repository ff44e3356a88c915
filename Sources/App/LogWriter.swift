import Foundation
import Synchronization

/// Writes log lines to standard error on a thread of its own: a reader that stalls keeps nobody waiting who logs.
///
/// What a reader does not take in time is lost, and counted; the line that follows says so.
final class LogWriter: Sendable {
  /// Bytes that may wait.
  private static let limit = 4 << 20

  private struct State {
    var pending = Data()
    /// Lines lost since the last that was written.
    var lost = 0
    var isWriting = false
  }

  private let state = Mutex(State())
  private let lines = DispatchSemaphore(value: 0)
  private let lostInAll = Atomic(0)
  private let lostLine: @Sendable (Int) -> Data

  /// - Parameter lostLine: the line that tells how many were lost.
  init(lostLine: @escaping @Sendable (Int) -> Data) {
    self.lostLine = lostLine
    Thread.detachNewThread { [weak self, lines] in
      while true {
        lines.wait()
        guard let self else { return }
        self.writePending()
      }
    }
  }

  deinit { lines.signal() }

  /// How many lines were lost since the start.
  var lost: Int { lostInAll.load(ordering: .relaxed) }

  /// Returns at once.
  func write(_ line: Data) {
    let isKept = state.withLock { state in
      guard state.pending.count + line.count <= Self.limit else {
        state.lost += 1
        return false
      }
      state.pending.append(line)
      return true
    }
    if isKept { lines.signal() } else { lostInAll.add(1, ordering: .relaxed) }
  }

  /// Waits until all is written, but no longer than `limit`: an end must not wait for a reader either.
  func flush(within limit: Duration) {
    let deadline = ContinuousClock.now + limit
    while state.withLock({ $0.isWriting || !$0.pending.isEmpty }), ContinuousClock.now < deadline { usleep(2000) }
  }

  private func writePending() {
    let batch = state.withLock { state in
      var batch = state.pending
      if state.lost > 0 { batch.append(lostLine(state.lost)) }
      state.pending = Data()
      state.lost = 0
      state.isWriting = !batch.isEmpty
      return batch
    }
    guard !batch.isEmpty else { return }
    let rest = Self.write(batch)
    // Nothing else can be done about a log that cannot be written.
    let count = rest.count { $0 == UInt8(ascii: "\n") }
    state.withLock { state in
      state.isWriting = false
      state.lost += count
    }
    lostInAll.add(count, ordering: .relaxed)
  }

  /// Writes as much as can be written, however long that takes; what is left when it fails.
  private static func write(_ batch: Data) -> Data {
    var rest = batch
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if errno == EAGAIN {
        // Somebody we share it with does not wait; we do.
        var descriptor = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        poll(&descriptor, 1, -1)
      } else if errno != EINTR {
        return rest
      }
    }
    return rest
  }
}
