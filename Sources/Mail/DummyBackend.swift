public import PasswordReset

/// Accepts emails and sends none of them.
public struct DummyBackend: MailBackend {
  /// Creates the backend.
  public init() {}

  public func send(_ message: EmailMessage) async throws(MailError) {}
}
