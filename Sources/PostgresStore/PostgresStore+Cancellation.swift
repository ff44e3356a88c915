public import Credentials
public import Foundation
public import PasswordReset

// What the store does with cancelled links.

extension PostgresStore {
  public func cancelLinks(_ cancellation: LinkCancellation, at now: Date) async throws(StoreError) -> [Job] {
    // No user has such a key.
    guard let key = users.keyText(cancellation.userID) else { return [] }
    let command = try Command(
      users.cancelLinks, key, cancellation.through.milliseconds, now.milliseconds, AuditEvent.cancelled.rawValue, cancellation.userID.text,
      cancellation.requestID, cancellation.clientKey, JobDocument.json(cancellation.jobs))
    // It may have to wait until a new password is set. Requests for emails must not wait for that.
    let rows = try await writeUsers([command] + notification(of: cancellation.jobs))[0]
    return Self.stored(cancellation.jobs, rows)
  }

  public func purgeCancellations(before time: TokenTime, limit: Int) async throws(StoreError) -> Int {
    // A row that is locked belongs to a user who sets a password at this moment.
    let sql = """
      DELETE FROM password_reset.cancellation WHERE user_id = ANY (ARRAY(
        SELECT user_id FROM password_reset.cancellation WHERE at < $1::bigint ORDER BY at LIMIT $2::bigint FOR UPDATE SKIP LOCKED))
      """
    return try await write(Command(Statement("password_reset_purge_cancellations", sql), time.milliseconds, limit)).changes
  }
}
