public import PasswordReset
import Synchronization

/// Keeps the newest emails in memory, for tests that read them over HTTP.
public final class MemoryBackend: MailBackend, Mailbox {
  private static let capacity = 1000
  private let kept = Mutex<[EmailMessage]>([])

  /// Creates an empty mailbox.
  public init() {}

  public var messages: [EmailMessage] { kept.withLock { $0 } }

  public func removeAll() { kept.withLock { $0 = [] } }

  public func send(_ message: EmailMessage) async throws(MailError) {
    kept.withLock { kept in
      if kept.count == Self.capacity { kept.removeFirst() }
      kept.append(message)
    }
  }
}
