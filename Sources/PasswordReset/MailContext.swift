public import Foundation

/// What a mail is made from, before a template gives it words.
public struct MailContext: Sendable {
  /// Which mail; the raw values begin the names of its templates.
  public enum Kind: String, Sendable {
    case passwordReset = "password_reset"
    case passwordChanged = "password_changed"
  }

  /// What makes up the link in a reset mail.
  public struct Link: Sendable {
    public var uid: String
    public var token: String
    public var url: String
    public var scheme: String
    public var domain: String
    /// Seconds from `date`.
    public var lifetime: Int
  }

  public var kind: Kind
  public var user: User
  public var recipient: String
  /// Nil in a mail that has no link.
  public var link: Link?
  /// The language asked for, as a tag.
  public var locale: String?
  /// Names this mail, over all its tries.
  public var messageKey: String
  public var date: Date
}

/// Gives a mail its words. Throws ``MailError`` if it cannot.
public typealias MailComposer = @Sendable (MailContext) throws(MailError) -> EmailMessage
