import Credentials
public import Foundation

/// What a mail is made from, before a template gives it words.
public struct MailContext: Sendable {
  /// Which mail; the raw values begin the names of its templates.
  public enum Kind: String, Sendable, CaseIterable {
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

    init(uid: String, token: String, to resetURL: ResetURL, lifetime: Int) {
      (self.uid, self.token, self.lifetime) = (uid, token, lifetime)
      url = resetURL.link(uid: uid, token: token)
      scheme = resetURL.scheme
      domain = resetURL.domain
    }
  }

  public var kind: Kind
  public var user: User
  public var recipient: String
  /// Nil in a mail that has no link.
  public var link: Link?
  /// The language asked for, as a tag.
  public var locale: String?
  /// When the reset was asked for, or the password changed.
  public var time: Date
  /// Names this mail, over all its tries.
  public var messageKey: String
  public var date: Date
}

extension MailContext {
  /// A mail to nobody, with a link that does not work: to look at the templates.
  public static func sample(_ kind: Kind, locale: String?, resetURL: ResetURL, lifetime: Int, at now: Date) -> MailContext {
    let user = User(id: UserID(1), username: "alice", email: "alice@example.com", firstName: "Alice", lastName: "Example", password: "")
    let token = "d8ary8-578199d4e42f291f0f3bce532651119e"
    return MailContext(
      kind: kind, user: user, recipient: user.email,
      link: kind == .passwordReset ? Link(uid: UIDB64.encode(user.id), token: token, to: resetURL, lifetime: lifetime) : nil, locale: locale,
      time: now, messageKey: "sample.1", date: now)
  }
}

/// Turns the facts of an email into its text, by templates and the reader's language.
public protocol EmailComposer: Sendable {
  func compose(_ email: MailContext) -> EmailMessage
}
