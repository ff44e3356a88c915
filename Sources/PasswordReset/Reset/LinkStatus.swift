public import Foundation

/// The status of a reset link.
public enum LinkStatus: Sendable, Equatable {
  /// The link can set a password up to and including `expiresAt`.
  case valid(expiresAt: Date)
  /// The link is genuine but too old.
  case expired
  /// The link is forged, malformed or used, or its user does not exist or is inactive. The service does not reveal
  /// which.
  case invalid
}
