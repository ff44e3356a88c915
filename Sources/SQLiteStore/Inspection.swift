import GRDB

extension SQLiteStore {
  /// Looks at a database file without changing it.
  ///
  /// Throws ``StoreOpenError`` if it is no database, damaged, or one that this release must not touch. Reads all of it.
  public static func inspect(path: String) throws(StoreOpenError) {
    do {
      var configuration = Configuration()
      configuration.readonly = true
      configuration.busyMode = .timeout(5)
      try DatabaseQueue(path: path, configuration: configuration).read { db in
        guard try String.fetchOne(db, sql: "PRAGMA quick_check(1)") == "ok" else { throw StoreOpenError.damaged(path: path) }
        try checkSchema(db)
      }
    } catch let error as StoreOpenError {
      throw error
    } catch {
      throw .cannotOpen(path: path, reason: "\(error)")
    }
  }
}
