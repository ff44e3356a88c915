public import Foundation

/// An email to one person, before it is encoded as MIME.
public struct EmailMessage: Sendable, Equatable {
  /// The sender, a mailbox such as `Site <noreply@example.com>` or a bare address.
  public var sender: String
  /// The recipient, exactly one bare address.
  public var recipient: String
  /// The subject, in one line.
  public var subject: String
  /// The plain text, with lines that end in `\n`.
  public var body: String
  /// The same text as HTML, or `nil` if the email has no HTML part.
  public var html: String?
  /// The language tag of the text.
  public var language = "en"
  /// The reset link that the email contains, or `nil` if it contains none.
  public var resetURL: String?
  /// The cancel link that the email contains, or `nil` if it contains none.
  public var cancelURL: String?
  /// The message id without angle brackets. It is the same for all attempts of one email, so that a receiver can drop a
  /// duplicate.
  public var messageID: String
  /// The date of the message.
  public var date: Date

  /// Creates an email in English without an HTML part and without a link.
  public init(sender: String, recipient: String, subject: String, body: String, messageID: String, date: Date) {
    self.sender = sender
    self.recipient = recipient
    self.subject = subject
    self.body = body
    self.messageID = messageID
    self.date = date
  }
}

/// Sends emails to an SMTP server, a terminal or a file, like Django's `EMAIL_BACKEND`. docs/mail.md explains how to
/// add one.
public protocol MailBackend: Sendable {
  /// How many more emails than `EMAIL_CONNECTIONS` it wants to be given, so that its connections never wait for one.
  /// The default is 0.
  var prefetch: Int { get }

  /// Returns when the message is safely accepted. It is called for `EMAIL_CONNECTIONS` + ``prefetch`` messages at once.
  func send(_ message: EmailMessage) async throws(MailError)

  /// Makes all emails whose sending has not begun fail as ``MailError/unavailable(reason:)``.
  func stop()
}

extension MailBackend {
  public var prefetch: Int { 0 }

  public func stop() {}
}

/// Keeps emails that were sent, so that tests can read them.
public protocol Mailbox: Sendable {
  /// The emails, the oldest first.
  var messages: [EmailMessage] { get }

  /// Deletes all emails.
  func removeAll()
}

/// The reason why a backend did not send an email.
///
/// The texts are for the operator and contain neither tokens nor addresses.
public enum MailError: Error, Sendable, Equatable {
  /// The server refused this email for now, and a later attempt may succeed.
  case transient(reason: String)
  /// No email can be sent now, because the server is away, busy or configured wrongly.
  case unavailable(reason: String)
  /// The server refused this email permanently.
  case permanent(reason: String)

  /// The reason as text, for the log.
  public var reason: String {
    switch self {
    case .transient(let reason), .unavailable(let reason), .permanent(let reason): reason
    }
  }
}
