public import Credentials
import Foundation

/// Makes the links in emails.
public struct ResetLinkFactory: Sendable {
  private let format: LinkFormat
  private let tokenGenerator: PasswordResetTokenGenerator
  private let resetURL: ResetURL
  private let cancelTokens: PasswordResetTokenGenerator
  private let cancelURL: ResetURL?

  /// Creates a factory.
  /// - Parameters:
  ///   - resetURL: The page on which a user sets a password.
  ///   - cancelURL: The page on which a user cancels all reset links, or `nil` for emails without such a link.
  public init(
    format: LinkFormat, tokenGenerator: PasswordResetTokenGenerator, resetURL: ResetURL, cancelTokens: PasswordResetTokenGenerator,
    cancelURL: ResetURL?
  ) {
    self.format = format
    self.tokenGenerator = tokenGenerator
    self.resetURL = resetURL
    self.cancelTokens = cancelTokens
    self.cancelURL = cancelURL
  }

  /// Returns a link with a new token for `user`.
  func makeLink(for user: User, at now: Date) -> MailContext.Link {
    let token = tokenGenerator.makeToken(for: user.tokenSubject, at: now)
    return MailContext.Link(
      uid: format.encode(user.id), token: token, to: resetURL, lifetime: tokenGenerator.lifetime(ofTokenFor: user.tokenSubject, madeAt: now))
  }

  /// Returns the address of a cancel link for `user`, or `nil` if there is no page for it.
  func makeCancelURL(for user: User, at now: Date) -> String? {
    cancelURL?.link(uid: format.encode(user.id), token: cancelTokens.makeToken(for: .ofCancelLink(user.id), at: now))
  }
}
