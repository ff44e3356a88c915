public import Credentials
public import Foundation

/// What requests and the worker share: the stores, the keys and the clock.
public struct ResetContext: Sendable {
  public var users: any UserStore
  public var outbox: any OutboxStore
  public var tokenGenerator: PasswordResetTokenGenerator
  public var identifierHasher: IdentifierHasher
  public var now: @Sendable () -> Date

  public init(
    users: any UserStore, outbox: any OutboxStore, tokenGenerator: PasswordResetTokenGenerator, identifierHasher: IdentifierHasher,
    now: @escaping @Sendable () -> Date
  ) {
    self.users = users
    self.outbox = outbox
    self.tokenGenerator = tokenGenerator
    self.identifierHasher = identifierHasher
    self.now = now
  }
}
