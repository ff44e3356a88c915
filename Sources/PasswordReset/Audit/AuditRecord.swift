public import Credentials
import Foundation

/// What the audit records about a reset.
public enum AuditEvent: String, Sendable, CaseIterable {
  /// Someone asked for a reset email.
  case requested
  /// The request concerns no account that may reset its password.
  case noAccount = "no_account"
  /// The limit of its address held an email back.
  case suppressed
  /// The mail backend accepted an email.
  case mailed
  /// An email became a dead letter.
  case mailFailed = "mail_failed"
  /// Someone opened or used a link that sets no password.
  case linkInvalid = "link_invalid"
  /// Someone opened or used a link that is genuine but too old.
  case linkExpired = "link_expired"
  /// The user set a new password.
  case reset
  /// Staff set a new password by a command.
  case setByStaff = "set_by_staff"
  /// Staff printed a link by a command.
  case linkPrinted = "link_printed"
}

/// What happened to whom, as one line of the audit.
public struct AuditRecord: Sendable, Equatable {
  public var event: AuditEvent
  public var userID: UserID?
  /// The keyed hash of the address or user name: the audit can be searched for one, but not read as a list of people.
  public var identifierKey: String?

  public init(_ event: AuditEvent, userID: UserID? = nil, identifierKey: String? = nil) {
    self.event = event
    self.userID = userID
    self.identifierKey = identifierKey
  }
}
