public import Credentials
import Foundation

/// Makes the links in reset emails.
public struct ResetLinkFactory: Sendable {
  private let format: LinkFormat
  private let tokenGenerator: PasswordResetTokenGenerator
  private let resetURL: ResetURL

  /// Creates a factory for links to `resetURL`.
  public init(format: LinkFormat, tokenGenerator: PasswordResetTokenGenerator, resetURL: ResetURL) {
    self.format = format
    self.tokenGenerator = tokenGenerator
    self.resetURL = resetURL
  }

  /// Returns a link with a new token for `user`.
  func makeLink(for user: User, at now: Date) -> MailContext.Link {
    let token = tokenGenerator.makeToken(for: user.tokenSubject, at: now)
    return MailContext.Link(uid: format.encode(user.id), token: token, to: resetURL, lifetime: tokenGenerator.lifetime(ofTokenMadeAt: now))
  }
}
