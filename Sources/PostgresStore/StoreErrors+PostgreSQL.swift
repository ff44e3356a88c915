import PasswordReset

/// The texts for the operator.
extension StoreOpenError {
  static func badURL(reason: String) -> Self {
    Self(
      .unusable, "DATABASE_URL is not a URL that PostgreSQL's library can read: \(reason). Write it as postgresql://user@host/database")
  }

  static func oldServer(version: Int) -> Self {
    Self(
      .unusable, "the server is PostgreSQL \(version / 10000), which is too old; update it to at least \(PostgresSession.minimumVersion / 10000)"
    )
  }

  static func wrongEncoding(_ encoding: String) -> Self {
    Self(.unusable, "the database has the encoding \(encoding), and must have UTF8; create it with `ENCODING 'UTF8' TEMPLATE template0`")
  }

  static func unsafeSetting(_ setting: String) -> Self { Self(.unusable, "the PostgreSQL server does not keep the setting \(setting)") }

  static let sharedConnections = Self(
    .sharedConnections,
    """
    a connection pooler is between the service and PostgreSQL, and gives each transaction another connection; this would lose prepared \
    statements and synchronous_commit. Set pool_mode = session for this database in PgBouncer, or connect to PostgreSQL directly
    """)

  static let newerSchema = Self(
    .newerSchema, "a newer release of password-reset wrote the schema password_reset; run that release, or restore a backup")

  /// There is no connection. The kind says whether a later attempt may succeed.
  static func cannotConnect(reason: String) -> Self {
    let fault = ConnectionFault(reason)
    let remedy = fault.remedy.map { ". \($0)" } ?? ""
    return Self(fault.kind, "cannot connect to the PostgreSQL server that DATABASE_URL names: \(fault.message)\(remedy)")
  }

  /// The role lacks a privilege.
  static func missingPrivilege(_ message: String) -> Self {
    Self(.missingPrivilege, "the role in DATABASE_URL lacks a privilege: \(message)")
  }

  init(_ error: any Error) {
    switch error {
    case let error as StoreOpenError: self = error
    case let error as SQLError where error.state == "42501": self = .missingPrivilege(error.message)
    case let error as SQLError where error.isReadOnly:
      self.init(.unreachable, "the PostgreSQL server lets no one write: it is a standby, or read-only (\(error))")
    case let error as SQLError where ["55P03", "57014"].contains(error.state): self.init(.locked, "the database is locked: \(error). Try again")
    case let error as SQLError: self.init(.unusable, "\(error)")
    case let error as PostgresSession.Failure: self.init(.unreachable, "the connection to the PostgreSQL server failed: \(error.reason)")
    default: self.init(.unusable, "\(error)")
    }
  }
}

extension StoreError {
  init(_ error: SQLError) {
    if let entry = error.afterReset {
      self = .afterReset(reason: "\(entry): \(error)")
      return
    }
    let hint = error.isOfPooler ? ". Does a pooler share connections between transactions? Set pool_mode = session, or connect directly" : ""
    self = .unavailable(reason: "\(error)\(hint)")
  }
}
