public import PasswordReset

extension PostgresStore {
  private static let probe = Statement(
    "password_reset_probe",
    "SELECT current_setting('transaction_read_only') = 'on' OR pg_is_in_recovery(), EXISTS (SELECT FROM password_reset.outbox)")

  /// Throws unless the database can be read and, as far as is known, written.
  ///
  /// The database is ready if a read works, the server accepts writes, the connection for writes is not known to be lost,
  /// and the last write did not fail because of the server's disk. After such a failure each probe writes a record that
  /// changes nothing to the server's log.
  public func checkReadiness() async throws(StoreError) {
    let row = try await readByKey(Command(Self.probe)).first
    if row?.isTrue(0) != false { throw .unavailable(reason: "the PostgreSQL server is a standby, or read-only") }
    if let outage { throw outage }
    if hasDiskFailed { _ = try await write(Command(Statement(nil, "SELECT pg_logical_emit_message(true, 'password_reset', '')"))) }
  }
}
