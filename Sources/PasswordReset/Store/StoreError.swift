/// Why a store could not do its work. Nothing was changed, and a later attempt may succeed.
public enum StoreError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The database is locked, full, failing or missing; `reason` is for the log.
  case unavailable(reason: String)
  /// Too many writes are waiting already.
  case overloaded
  /// An entry of `AFTER_RESET` failed, so that the password was not set either; `reason` is for the log.
  case afterReset(reason: String)

  public var description: String {
    switch self {
    case .unavailable(let reason): reason
    case .overloaded: "too many writes are waiting for the disk"
    case .afterReset(let reason): "AFTER_RESET failed, so nothing was changed: \(reason)"
    }
  }
}
