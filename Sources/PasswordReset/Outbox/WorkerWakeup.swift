import Foundation
import Synchronization

/// Wakes the worker when there may be something to do. Signals that arrive before the worker waits become one.
struct WorkerWakeup: Sendable {
  let signals: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation

  init() { (signals, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

  func wake() { continuation.yield() }
}

/// Waits for signals and for a time, in the worker's loop.
struct WorkerAlarm {
  /// Signals at a time, once.
  private final class Timer: Sendable {
    let time: Date
    private let hasFired: Atomic<Bool>
    private let task: Mutex<Task<Void, any Error>?>

    init(_ time: Date, seconds: TimeInterval, _ alarm: WorkerAlarm) {
      self.time = time
      hasFired = Atomic(false)
      task = Mutex(nil)
      task.withLock {
        $0 = Task(executorPreference: alarm.executor) { [weak self, sleep = alarm.sleep, wakeup = alarm.wakeup] in
          try await sleep(.seconds(seconds))
          self?.hasFired.store(true, ordering: .relaxed)
          wakeup.wake()
        }
      }
    }

    var isRunning: Bool { !hasFired.load(ordering: .relaxed) }

    deinit { task.withLock { $0?.cancel() } }
  }

  private let wakeup: WorkerWakeup
  private let executor: any TaskExecutor
  private let sleep: @Sendable (Duration) async throws -> Void
  private var signals: AsyncStream<Void>.Iterator
  /// Is kept while it is early enough: otherwise each wait would need a new one.
  private var timer: Timer?

  init(_ wakeup: WorkerWakeup, on executor: any TaskExecutor, sleep: @escaping @Sendable (Duration) async throws -> Void) {
    self.wakeup = wakeup
    self.executor = executor
    self.sleep = sleep
    signals = wakeup.signals.makeAsyncIterator()
  }

  /// Waits for a signal, until `date` at the latest, and not for longer than `longest` seconds: if the clock was set back since `date` was
  /// calculated, it is far away.
  mutating func wait(until date: Date, atMost longest: TimeInterval, now: Date) async {
    let date = min(date, now.addingTimeInterval(longest))
    let isSet = timer.map { $0.isRunning && $0.time <= date && $0.time > now } ?? false
    if !isSet { timer = Timer(date, seconds: max(date.timeIntervalSince(now), 0.001), self) }
    await signals.next()
  }
}
