import Concurrency
import Foundation
public import PasswordReset
import Synchronization

/// Sends emails by SMTP with libcurl.
///
/// Each connection has its own thread, because a libcurl handle blocks its thread and must not be shared. When there
/// has been nothing to send for a minute, the thread ends and the connection closes. No thread pool is used, because a
/// pool keeps its threads.
public final class SMTPBackend: MailBackend {
  /// The seconds after which an idle connection closes, well below the five minutes after which servers close it
  /// (RFC 5321 section 4.5.3.2.7).
  private static let idleLimit = 60

  private struct State {
    var queue: [PendingTransfer] = []
    var connections = 0
    var idle = 0
    var isStopping = false
  }

  private typealias PendingTransfer = (transfer: SMTPTransfer, done: CheckedContinuation<Result<Void, MailError>, Never>)

  private let settings: SMTPSettings
  private let maximumConnections: Int
  private let mechanism = SMTPMechanism.Memory()
  private let state = Mutex(State())
  /// Is signaled once for each job in the queue.
  private let pendingSignal = DispatchSemaphore(value: 0)

  /// Creates a backend. It connects when there is an email to send.
  /// - Parameter connections: The highest number of connections at once.
  public init(_ settings: SMTPSettings, connections: Int = 1) {
    self.settings = settings
    maximumConnections = connections
  }

  /// More emails than connections, so that a connection finds its next email composed and encoded.
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

  /// Checks the settings: opens a separate connection, authenticates, and asks whether the server would take an email from `sender` (MAIL and
  /// RCPT, with the sender as recipient). It closes the connection without sending an email.
  public func check(sender: String) async throws(MailError) {
    let token = try settings.token()
    guard let address = MIMEEncoder.address(of: sender) else { throw MIMEEncoder.invalidSender }
    let result = await withCheckedContinuation { continuation in
      // As for an email, the wait for the network must not block a dispatch thread, which the database needs.
      Thread.detachNewThread { [settings] in continuation.resume(returning: SMTPConnection(settings).check(sender: address, token: token)) }
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

  private func refuse(_ job: PendingTransfer) { job.done.resume(returning: .failure(.unavailable(reason: "the service is stopping"))) }

  private func enqueue(_ job: PendingTransfer) {
    let needsConnection = state.withLock { state -> Bool? in
      guard !state.isStopping else { return nil }
      state.queue.append(job)
      guard state.idle < state.queue.count, state.connections < maximumConnections else { return false }
      state.connections += 1
      return true
    }
    guard let needsConnection else { return refuse(job) }
    pendingSignal.signal()
    // The wait for the network must not block a dispatch thread, which the database needs.
    if needsConnection {
      Thread.detachNewThread {
        lowerThreadPriority()
        self.work()
      }
    }
  }

  private func work() {
    let connection = SMTPConnection(settings, mechanism: mechanism)
    while let job = nextTransfer() { job.done.resume(returning: connection.perform(job.transfer)) }
  }

  /// Returns the next job, or `nil` if there is none for ``idleLimit`` seconds.
  private func nextTransfer() -> PendingTransfer? {
    state.withLock { $0.idle += 1 }
    while true {
      let isSignaled = pendingSignal.wait(timeout: .now() + .seconds(Self.idleLimit)) == .success
      let job = state.withLock { state -> PendingTransfer?? in
        // Wait again after a signal for a job that stop() removed, and after a timeout if a job has just been added.
        guard isSignaled != state.queue.isEmpty else { return .none }
        state.idle -= 1
        if isSignaled { return state.queue.removeFirst() }
        state.connections -= 1
        return .some(nil)
      }
      if let job { return job }
    }
  }
}

/// A message that libcurl is sending or about to send.
final class SMTPTransfer: Sendable {
  let message: EncodedMessage
  /// The access token for XOAUTH2, or `nil` if none is configured.
  let token: String?
  private let cancelled = Atomic(false)

  init(_ message: EncodedMessage, token: String?) {
    self.message = message
    self.token = token
  }

  var isCancelled: Bool { cancelled.load(ordering: .relaxed) }

  func cancel() { cancelled.store(true, ordering: .relaxed) }
}
