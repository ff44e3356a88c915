/// The error of a store that cannot complete an operation. Nothing was changed, and a later attempt may succeed.
public enum StoreError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The database is locked, full, damaged or missing. The reason is for the log.
  case unavailable(reason: String)
  /// Too many writes are waiting already.
  case overloaded

  /// The reason for the log.
  public var description: String {
    switch self {
    case .unavailable(let reason): reason
    case .overloaded: "too many writes are waiting for the disk"
    }
  }
}
