/// The tables of an open store.
public protocol StoreSchema: Sendable {
  /// Brings the tables up to date. It changes nothing if they are, and several processes may call it at the same time.
  func migrate() throws(StoreOpenError)

  /// Throws unless the database can be read and, as far as the store knows, written. It is cheap enough for a probe
  /// that runs every second.
  func checkReadiness() async throws(StoreError)
}

/// Everything that the service and the commands need of one open database.
public typealias Store = AuditReader & AuditStore & OutboxAdmin & OutboxStore & StoreSchema & UserDirectory & UserStore
