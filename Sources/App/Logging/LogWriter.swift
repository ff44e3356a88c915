import Foundation
import Synchronization

/// Writes log lines to standard error on a thread of its own: a reader that stalls keeps nobody waiting who logs.
///
/// What a reader does not take in time is lost, and counted; the line that follows says so.
final class LogWriter: Sendable {
  /// Bytes that may wait.
  private static let limit = 4 << 20
  /// Microseconds.
  private static let pause: UInt32 = 5000

  private struct State {
    var pending: [UInt8] = []
    /// Lines lost since the last that was written.
    var lost = 0
    var isWriting = false
    /// Whether the thread waits to be woken.
    var isAsleep = true
  }

  private let state = Mutex(State())
  private let lines = DispatchSemaphore(value: 0)
  private let lostInAll = Atomic(0)
  private let lostLine: @Sendable (Int) -> [UInt8]

  /// - Parameter lostLine: the line that tells how many were lost.
  init(lostLine: @escaping @Sendable (Int) -> [UInt8]) {
    self.lostLine = lostLine
    Thread.detachNewThread { [weak self, lines] in
      while true {
        lines.wait()
        while self?.writePending() == true {
          // What comes meanwhile is written at once: to be woken for each line would cost more than the line.
          usleep(Self.pause)
        }
        if self == nil { return }
      }
    }
  }

  deinit { lines.signal() }

  /// How many lines were lost since the start.
  var lost: Int { lostInAll.load(ordering: .relaxed) }

  /// Returns at once.
  func write(_ line: [UInt8]) {
    let (isKept, wakes) = state.withLock { state in
      guard state.pending.count + line.count <= Self.limit else {
        state.lost += 1
        return (false, false)
      }
      state.pending += line
      defer { state.isAsleep = false }
      return (true, state.isAsleep)
    }
    if !isKept { lostInAll.add(1, ordering: .relaxed) }
    if wakes { lines.signal() }
  }

  /// Waits until all is written, but no longer than `limit`: an end must not wait for a reader either.
  func flush(within limit: Duration) {
    let deadline = ContinuousClock.now + limit
    while state.withLock({ $0.isWriting || !$0.pending.isEmpty }), ContinuousClock.now < deadline { usleep(2000) }
  }

  /// False if there was nothing to write: from then on it must be woken.
  private func writePending() -> Bool {
    let batch = state.withLock { state in
      var batch = state.pending
      if state.lost > 0 { batch += lostLine(state.lost) }
      state.pending = []
      state.lost = 0
      state.isWriting = !batch.isEmpty
      state.isAsleep = batch.isEmpty
      return batch
    }
    guard !batch.isEmpty else { return false }
    let rest = Self.write(batch)
    // Nothing else can be done about a log that cannot be written.
    let count = rest.count { $0 == UInt8(ascii: "\n") }
    lostInAll.add(count, ordering: .relaxed)
    return state.withLock { state in
      state.isWriting = false
      state.lost += count
      // What fails is not tried again and again only to say that it failed.
      state.isAsleep = !rest.isEmpty && state.pending.isEmpty
      return !state.isAsleep
    }
  }

  /// Writes as much as can be written, however long that takes; what is left when it fails.
  private static func write(_ batch: [UInt8]) -> ArraySlice<UInt8> {
    var rest = batch[...]
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
