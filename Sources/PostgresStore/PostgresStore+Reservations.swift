import Credentials
public import Foundation
public import PasswordReset

extension PostgresStore {
  /// The lock under which emails are counted, so that two processes cannot both take the last place under a limit.
  ///
  /// It is the same for all emails if there is a limit for all of them, otherwise one for each address.
  private static let lock = Statement(
    "password_reset_lock_window", "SELECT pg_advisory_xact_lock(hashtextextended('password_reset.mail_window' || $1::text, 0))")

  /// No limit looks further back than a day.
  private static let purge = Statement(
    "password_reset_purge_window",
    """
    DELETE FROM password_reset.mail_window WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM password_reset.mail_window WHERE at < $1::bigint LIMIT 1000)) AND \(isOnlyPurge(of: "mail_window"))
    """)

  /// Adds the email to the window if no limit forbids it. Returns whether it was there before, whether a limit of its
  /// address forbids it, and when the oldest of the emails that fill a limit of all emails leaves the window.
  ///
  /// If the clock was set back, a time in the future must not count for longer than the limit.
  private static let reservation = Statement(
    "password_reset_reserve",
    """
    WITH counted AS (
      SELECT 1 FROM password_reset.mail_window WHERE address_key = $1::text AND request_id = $2::text AND user_id = $3::text
    ), refused AS (
      SELECT 1 FROM ROWS FROM (json_to_recordset($5::json) AS (count bigint, milliseconds bigint)) AS own WHERE own.count <= (
        SELECT count(DISTINCT request_id) FROM password_reset.mail_window
        WHERE address_key = $1::text AND at > $4::bigint - own.milliseconds AND at <= $4::bigint + 60000 AND request_id <> $2::text)
    ), later AS (
      SELECT max(oldest.at + total.milliseconds) AS at
      FROM ROWS FROM (json_to_recordset($6::json) AS (count bigint, milliseconds bigint)) AS total, LATERAL (
        SELECT at FROM password_reset.mail_window WHERE at > $4::bigint - total.milliseconds AND at <= $4::bigint + 60000
        ORDER BY at DESC LIMIT 1 OFFSET total.count - 1) AS oldest
    ), added AS (
      INSERT INTO password_reset.mail_window (address_key, request_id, user_id, at) SELECT $1::text, $2::text, $3::text, $4::bigint
      WHERE NOT EXISTS (SELECT FROM counted) AND NOT EXISTS (SELECT FROM refused) AND (SELECT at FROM later) IS NULL
      ON CONFLICT DO NOTHING
    )
    SELECT EXISTS (SELECT FROM counted), EXISTS (SELECT FROM refused), (SELECT at FROM later)
    """)

  public func reserve(_ email: EmailReservation, now: @escaping @Sendable () -> Date) async throws(StoreError) -> EmailAllowance {
    let key = email.addressKey ?? ""
    // The statement counts emails that are up to a minute in the future, which is longer than it waits.
    let now = now()
    let results = try await write([
      Command(Self.lock, email.totalLimits.isEmpty ? key : ""), Command(Self.purge, now.addingTimeInterval(-86400).milliseconds),
      Command(
        Self.reservation, key, email.requestID, email.userID.text, now.milliseconds, Self.json(email.limits), Self.json(email.totalLimits)),
    ])
    guard let row = results[2].first else { throw .unavailable(reason: "the server did not count an email") }
    if row.isTrue(0) { return .granted }
    if row.isTrue(1) { return .refused }
    return row.integer(2).map { .later(Date(milliseconds: $0)) } ?? .granted
  }

  private static func json(_ limits: [RateLimit]) -> String {
    "[\(limits.map { "{\"count\": \($0.count), \"milliseconds\": \($0.seconds * 1000)}" }.joined(separator: ","))]"
  }
}
