public import Credentials
import Foundation

/// The end of all reset links of a user that were made until now, and what is committed with it.
public struct LinkCancellation: Sendable {
  /// The key of the user, whether or not that user exists any more.
  public var userID: UserID
  /// The last cancelled second: links whose tokens have this time or an earlier one are dead.
  public var through: TokenTime
  /// The `X-Request-Id` of the request that causes it, or the name of the command.
  public var requestID: String
  /// The keyed hash of the client's network, for the audit.
  public var clientKey: String?
  /// The jobs that follow.
  public var jobs: [NewJob] = []

  /// Creates the cancellation of a user's links.
  public init(userID: UserID, through: TokenTime, requestID: String, clientKey: String? = nil) {
    self.userID = userID
    self.through = through
    self.requestID = requestID
    self.clientKey = clientKey
  }

  /// Returns the time before which a cancellation is of no use: no setting lets a link live for longer than a year. The day more is for
  /// the time zone.
  static func oldest(at now: Date) -> TokenTime { TokenTime(at: now.addingTimeInterval(-367 * 86400)) }
}
