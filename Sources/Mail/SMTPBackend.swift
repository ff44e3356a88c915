import Concurrency
import Foundation
public import PasswordReset
import Synchronization

/// Sends emails by SMTP with libcurl.
///
/// Each connection has its own thread, because a libcurl handle blocks its thread and must not be shared.
public final class SMTPBackend: MailBackend {
  private let settings: SMTPSettings
  private let maximumConnections: Int
  private let threads: ConnectionThreads<SMTPTransfer, Result<Void, MailError>>

  /// Creates a backend. It connects when there is an email to send.
  ///
  /// A connection closes after a minute without an email, well below the five minutes after which servers close it (RFC 5321 section 4.5.3.2.7).
  /// - Parameter connections: The highest number of connections at once.
  public init(_ settings: SMTPSettings, connections: Int = 1) {
    self.settings = settings
    maximumConnections = connections
    let mechanism = SMTPMechanism.Memory()
    threads = ConnectionThreads(limit: connections) {
      let connection = SMTPConnection(settings, mechanism: mechanism)
      return { connection.perform($0) }
    }
  }

  /// More emails than connections, so that a connection finds its next email composed and encoded.
  public var prefetch: Int { maximumConnections + 2 }

  public func send(_ message: EmailMessage) async throws(MailError) {
    let transfer = SMTPTransfer(try MIMEEncoder.encode(message, as: .wire), token: try settings.token())
    let result = await withTaskCancellationHandler {
      await threads.run(transfer)
    } onCancel: {
      transfer.cancel()
    }
    guard let result else { throw .unavailable(reason: "the service is stopping") }
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

  public func stop() { threads.stop() }
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
