public import Credentials
public import Foundation

/// The stores, the keys and the clock, which requests and the worker share.
public struct ResetContext: Sendable {
  /// The users of the site.
  public var users: any UserStore
  /// The queue of jobs that send emails.
  public var outbox: any OutboxStore
  /// Makes and checks the tokens in links.
  public var tokenGenerator: PasswordResetTokenGenerator
  /// Makes and checks the tokens in cancel links.
  public var cancelTokens: PasswordResetTokenGenerator
  /// How the users table writes a password hash.
  public var passwordFormat: PasswordFormat
  /// Makes the keys of addresses and user names.
  public var identifierHasher: IdentifierHasher
  /// Returns the current time.
  public var now: @Sendable () -> Date

  /// Creates a context from its parts.
  public init(
    users: any UserStore, outbox: any OutboxStore, tokenGenerator: PasswordResetTokenGenerator,
    cancelTokens: PasswordResetTokenGenerator, passwordFormat: PasswordFormat, identifierHasher: IdentifierHasher, now: @escaping @Sendable () -> Date
  ) {
    self.users = users
    self.outbox = outbox
    self.tokenGenerator = tokenGenerator
    self.cancelTokens = cancelTokens
    self.passwordFormat = passwordFormat
    self.identifierHasher = identifierHasher
    self.now = now
  }
}
