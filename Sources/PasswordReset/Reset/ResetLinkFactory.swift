public import Credentials
import Foundation

/// Makes the links in reset emails.
public struct ResetLinkFactory: Sendable {
  private let tokenGenerator: PasswordResetTokenGenerator
  private let resetURL: ResetURL
  private let lifetime: Int

  /// Creates a factory for links to `resetURL`.
  /// - Parameter lifetime: `PASSWORD_RESET_TIMEOUT` in seconds, which the email states.
  public init(tokenGenerator: PasswordResetTokenGenerator, resetURL: ResetURL, lifetime: Int) {
    self.tokenGenerator = tokenGenerator
    self.resetURL = resetURL
    self.lifetime = lifetime
  }

  /// Returns a link with a new token for `user`.
  func makeLink(for user: User, at now: Date) -> MailContext.Link {
    let token = tokenGenerator.makeToken(for: user.tokenSubject, at: now)
    return MailContext.Link(uid: UIDB64.encode(user.id), token: token, to: resetURL, lifetime: lifetime)
  }
}
