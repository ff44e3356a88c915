import Credentials
import Foundation
import GRDB
import PasswordReset

/// How a job is written to and read from a row of `password_reset_outbox`.
enum JobCoding {
  static func columns(of kind: JobKind) -> (kind: String, identifier: String?, userID: UserID?) {
    switch kind {
    case .resetRequest(.email(let address)): ("request_email", address, nil)
    case .resetRequest(.username(let name)): ("request_username", name, nil)
    case .resetEmail(let userID): ("reset_email", nil, userID)
    case .changedNotice(let userID, let recipient): ("changed_notice", recipient, userID)
    }
  }

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
    let identifier = row.text("identifier")
    let userID = row.text("user_id").map(UserID.init(_:))
    return switch (row.text("kind"), identifier, userID) {
    case ("request_email", let address?, _): .resetRequest(.email(address))
    case ("request_username", let name?, _): .resetRequest(.username(name))
    case ("reset_email", _, let userID?): .resetEmail(userID: userID)
    case ("changed_notice", let recipient?, let userID?): .changedNotice(userID: userID, recipient: recipient)
    default: nil
    }
  }
}
