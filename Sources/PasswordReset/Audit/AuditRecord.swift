public import Credentials
import Foundation

/// An event that the audit records.
public enum AuditEvent: String, Sendable, CaseIterable {
  /// A client asked for a reset email.
  case requested
  /// The request concerns no account that may reset its password.
  case noAccount = "no_account"
  /// An email was not sent because its address had reached its limit.
  case suppressed
  /// The mail backend accepted an email.
  case mailed
  /// An email became a dead letter.
  case mailFailed = "mail_failed"
  /// A client opened or used a link that cannot do what the client wants.
  case linkInvalid = "link_invalid"
  /// A client opened or used a link that is genuine but too old.
  case linkExpired = "link_expired"
  /// The user set a new password.
  case reset
  /// The user or an operator cancelled all reset links of the user.
  case cancelled
  /// An operator set a new password with a command.
  case setByStaff = "set_by_staff"
  /// An operator printed a link with a command.
  case linkPrinted = "link_printed"
  /// An entry of `AFTER_RESET` failed, so that a new password was not set.
  case afterResetFailed = "after_reset_failed"
}

/// An event in the audit and the user that it concerns.
public struct AuditRecord: Sendable, Equatable {
  /// The event.
  public var event: AuditEvent
  /// The key of the user, if there is one. For a link it is the key in the link, whether or not that user exists.
  public var userID: UserID?
  /// The keyed hash of the address or user name. With it the audit can be searched for a person but not read as a list
  /// of people.
  public var identifierKey: String?
  /// The keyed hash of the client's network, or `nil` for an event without a request.
  public var clientKey: String?
  /// More about the event, as a JSON object.
  public var detail: String?

  /// Creates a record of an event.
  public init(_ event: AuditEvent, userID: UserID? = nil, identifierKey: String? = nil, clientKey: String? = nil, detail: String? = nil) {
    self.event = event
    self.userID = userID
    self.identifierKey = identifierKey
    self.clientKey = clientKey
    self.detail = detail
  }
}
