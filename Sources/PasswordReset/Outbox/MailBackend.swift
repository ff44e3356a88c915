public import Foundation

/// A mail to one person, before it is put into MIME.
public struct EmailMessage: Sendable, Equatable {
  /// A mailbox, `Site <noreply@example.com>` or a bare address.
  public var sender: String
  /// A bare address, exactly one.
  public var recipient: String
  public var subject: String
  /// Plain text, lines ended by `\n`.
  public var body: String
  /// The same as a web page, for programs that show one; nil for none.
  public var html: String?
  /// The language that it is in, as a tag.
  public var language: String
  /// The link that it is about.
  public var resetURL: String?
  /// Without angle brackets; the same for every try of one mail, so that a receiver can drop a duplicate.
  public var messageID: String
  public var date: Date

  public init(
    sender: String, recipient: String, subject: String, body: String, html: String? = nil, language: String = "en", resetURL: String? = nil,
    messageID: String, date: Date
  ) {
    self.sender = sender
    self.recipient = recipient
    self.subject = subject
    self.body = body
    self.html = html
    self.language = language
    self.resetURL = resetURL
    self.messageID = messageID
    self.date = date
  }
}

/// Sends emails: to an SMTP server, a terminal, a file. It is Django's `EMAIL_BACKEND`; docs/mail.md explains how to add one.
public protocol MailBackend: Sendable {
  /// How many more emails than `EMAIL_CONNECTIONS` it wants to be given, so that its connections never wait for one. The default is 0.
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

/// Mails that can be read again.
public protocol Mailbox: Sendable {
  /// Oldest first.
  var messages: [EmailMessage] { get }

  func removeAll()
}

/// Why a mail was not handed over. The reasons are for the operator; they hold neither a token nor an address.
public enum MailError: Error, Sendable, Equatable {
  /// It may work later: the server put this mail off.
  case transient(reason: String)
  /// No mail would go just now: the server is away, busy or wrongly set up.
  case unavailable(reason: String)
  /// It never will: the server refused this very mail for good.
  case permanent(reason: String)

  public var reason: String {
    switch self {
    case .transient(let reason), .unavailable(let reason), .permanent(let reason): reason
    }
  }
}
