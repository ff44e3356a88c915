/// Why a store could not do what was asked. Nothing was changed; asking again later may succeed.
public enum StoreError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The database is locked, full, failing or gone; `reason` is for the log.
  case unavailable(reason: String)
  /// Too much is waiting already.
  case overloaded

  public var description: String {
    switch self {
    case .unavailable(let reason): reason
    case .overloaded: "too much waits for the disk"
    }
  }
}
