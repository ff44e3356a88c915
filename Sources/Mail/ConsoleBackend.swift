import Foundation
public import PasswordReset
import Synchronization

/// Writes emails to standard output, for development. It omits the HTML part, which is not readable on a terminal.
public final class ConsoleBackend: MailBackend {
  private let lock = Mutex(())

  /// Creates the backend.
  public init() {}

  public func send(_ message: EmailMessage) async throws(MailError) {
    var message = message
    message.html = nil
    let data = try message.readableData()
    do {
      try lock.withLock { _ in try FileHandle.standardOutput.write(contentsOf: data) }
    } catch {
      throw .unavailable(reason: "cannot write to standard output: \(error)")
    }
  }
}
