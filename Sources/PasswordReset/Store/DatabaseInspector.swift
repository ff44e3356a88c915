/// Looks at a database that is not open as a store.
public protocol DatabaseInspector: Sendable {
  /// Checks that this release can use the database, and changes nothing in it.
  ///
  /// - Parameter isThorough: whether to read the whole database in search of damage.
  /// - Returns: whether migrations are pending.
  func inspect(isThorough: Bool) throws(StoreOpenError) -> Bool
}
