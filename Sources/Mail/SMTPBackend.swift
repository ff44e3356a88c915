import Foundation
public import PasswordReset
import Synchronization

/// Sends by SMTP, by libcurl. Each connection has a thread of its own, which ends when there is nothing to send for a minute.
public final class SMTPBackend: MailBackend {
  /// Well below the five minutes after which servers hang up (RFC 5321 section 4.5.3.2.7).
  private static let idleLimit = 60

  private struct State {
    var queue: [Job] = []
    var connections = 0
    var idle = 0
    var isStopping = false
  }

  private typealias Job = (transfer: SMTPTransfer, done: CheckedContinuation<Result<Void, MailError>, Never>)

  private let settings: SMTPSettings
  private let maximumConnections: Int
  private let state = Mutex(State())
  /// Counts the jobs in the queue.
  private let jobs = DispatchSemaphore(value: 0)

  /// - Parameter connections: how many there may be at once.
  public init(_ settings: SMTPSettings, connections: Int = 1) {
    self.settings = settings
    maximumConnections = connections
  }

  /// A connection finds its next mail written and encoded.
  public var prefetch: Int { maximumConnections + 2 }

  public func send(_ message: EmailMessage) async throws(MailError) {
    let transfer = SMTPTransfer(try MIMEEncoder.encode(message, as: .wire), token: try settings.token())
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { enqueue((transfer, $0)) }
    } onCancel: {
      transfer.cancel()
    }
    try result.get()
  }

  /// Connects to the server and logs in, over a connection of its own, and sends nothing.
  public func connect() async throws(MailError) {
    let token = try settings.token()
    let result = await withCheckedContinuation { continuation in
      // As for a mail: a thread that waits for the network must not be one that the database shares.
      Thread.detachNewThread { [settings] in continuation.resume(returning: SMTPConnection(settings).connect(token: token)) }
    }
    try result.get()
  }

  public func stop() {
    let jobs = state.withLock { state in
      state.isStopping = true
      defer { state.queue = [] }
      return state.queue
    }
    for job in jobs { refuse(job) }
  }

  private func refuse(_ job: Job) { job.done.resume(returning: .failure(.unavailable(reason: "the service is stopping"))) }

  private func enqueue(_ job: Job) {
    let isShort = state.withLock { state -> Bool? in
      guard !state.isStopping else { return nil }
      state.queue.append(job)
      guard state.idle < state.queue.count, state.connections < maximumConnections else { return false }
      state.connections += 1
      return true
    }
    guard let isShort else { return refuse(job) }
    jobs.signal()
    // A thread that waits for the network must not be one that the database shares.
    if isShort {
      Thread.detachNewThread {
        BackgroundExecutor.lowerPriority()
        self.work()
      }
    }
  }

  private func work() {
    let connection = SMTPConnection(settings)
    while let job = nextJob() { job.done.resume(returning: connection.perform(job.transfer)) }
  }

  /// Waits for something to send; nil if there is nothing for too long.
  private func nextJob() -> Job? {
    state.withLock { $0.idle += 1 }
    while true {
      let isSignalled = jobs.wait(timeout: .now() + .seconds(Self.idleLimit)) == .success
      let job = state.withLock { state -> Job?? in
        // Another thread may be late in taking what it was woken for, and what it was may have been taken back.
        guard isSignalled != state.queue.isEmpty else { return .none }
        state.idle -= 1
        if isSignalled { return state.queue.removeFirst() }
        state.connections -= 1
        return .some(nil)
      }
      if let job { return job }
    }
  }
}

/// A message on its way through libcurl.
final class SMTPTransfer: Sendable {
  let message: EncodedMessage
  /// For XOAUTH2.
  let token: String?
  private let cancelled = Atomic(false)

  init(_ message: EncodedMessage, token: String?) {
    self.message = message
    self.token = token
  }

  var isCancelled: Bool { cancelled.load(ordering: .relaxed) }

  func cancel() { cancelled.store(true, ordering: .relaxed) }
}
