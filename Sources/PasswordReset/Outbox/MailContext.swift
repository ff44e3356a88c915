import Credentials
public import Foundation

/// The facts of an email, from which a template makes its text.
public struct MailContext: Sendable {
  /// The kind of an email. The names of its templates start with the raw value.
  public enum Kind: String, Sendable, CaseIterable {
    /// The email with a reset link.
    case passwordReset = "password_reset"
    /// The notice that the password was changed.
    case passwordChanged = "password_changed"
  }

  /// The link in a reset email and its parts.
  public struct Link: Sendable {
    /// The user's key, encoded by ``LinkFormat/encode(_:)``.
    public var uid: String
    /// The one-time token.
    public var token: String
    /// The whole link.
    public var url: String
    /// The scheme of the link, `https` or `http`.
    public var scheme: String
    /// The host of the link and its port if there is one.
    public var domain: String
    /// The time from the date of the email until the link expires, in seconds.
    public var lifetime: Int

    init(uid: String, token: String, to resetURL: ResetURL, lifetime: Int) {
      (self.uid, self.token, self.lifetime) = (uid, token, lifetime)
      url = resetURL.link(uid: uid, token: token)
      scheme = resetURL.scheme
      domain = resetURL.domain
    }
  }

  /// The kind of the email.
  public var kind: Kind
  /// The user that the email is about.
  public var user: User
  /// The bare address that the email is sent to.
  public var recipient: String
  /// The reset link, or `nil` in an email without a link.
  public var link: Link?
  /// The address of the page on which the user cancels all reset links, or `nil` if there is none.
  public var cancelURL: String?
  /// The language tag that the client asked for.
  public var locale: String?
  /// When the reset was requested or the password was changed.
  public var time: Date
  /// Identifies the email. It is the same for all attempts.
  public var messageKey: String
  /// The date of the email.
  public var date: Date
}

extension MailContext {
  /// Returns the facts of an example email with a link that does not work, to preview and check templates.
  /// - Parameter cancelURL: The page on which a user cancels all reset links, or `nil` for an email without such a link.
  public static func sample(
    _ kind: Kind, locale: String?, resetURL: ResetURL, cancelURL: ResetURL? = nil, lifetime: Int, at now: Date
  ) -> MailContext {
    let user = User(id: UserID(1), username: "alice", email: "alice@example.com", firstName: "Alice", lastName: "Example", password: "")
    let token = "d8ary8-578199d4e42f291f0f3bce532651119e"
    return MailContext(
      kind: kind, user: user, recipient: user.email,
      link: kind == .passwordReset ? Link(uid: UIDB64.encode(user.id), token: token, to: resetURL, lifetime: lifetime) : nil,
      cancelURL: cancelURL?.link(uid: UIDB64.encode(user.id), token: "d8ary8-0f3a6c5d7e9b8a1c2d4f6e8a0b1c3d5e"), locale: locale, time: now,
      messageKey: "sample.1", date: now)
  }
}

/// Turns the facts of an email into its text, by templates and the reader's language.
public protocol EmailComposer: Sendable {
  /// Returns the email to send.
  func compose(_ email: MailContext) -> EmailMessage
}
