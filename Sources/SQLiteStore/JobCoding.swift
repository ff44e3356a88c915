import Credentials
import Foundation
import GRDB
import PasswordReset

/// How a job is read from a row of `password_reset_outbox`.
enum JobCoding {
  /// Returns `nil` for a row that does not decode; the caller dead-letters it.
  static func job(_ row: Row) -> Job? {
    guard let id = row.integer("id"), let kind = kind(row), let requestID = row.text("request_id"),
      let createdAt = row.integer("created_at"), let attempts = row.integer("attempts")
    else { return nil }
    let retriedAt = row.integer("retried_at")
    return Job(
      id: id, kind: kind, locale: row.text("locale"), requestID: requestID, createdAt: Date(milliseconds: createdAt),
      ttlStart: Date(milliseconds: retriedAt ?? createdAt), attempts: Int(attempts))
  }

  private static func kind(_ row: Row) -> JobKind? {
    JobKind(kind: row.text("kind"), identifier: row.text("identifier"), userID: row.text("user_id").map(UserID.init(_:)))
  }
}
