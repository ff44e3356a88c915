/// Why a store could not do what was asked. Nothing was changed; asking again later may succeed.
public enum StoreError: Error, Sendable, Equatable {
  /// The database is locked, full, failing or gone; `reason` is for the log.
  case unavailable(reason: String)
  /// Too much is waiting already.
  case overloaded
}
