public import Foundation
import GRDB
public import PasswordReset

/// The row format of `password_reset_outbox`.
enum OutboxCoding {
  static func columns(of identifier: AccountIdentifier) -> (kind: String, identifier: String) {
    switch identifier {
    case .email(let address): ("request_email", address)
    case .username(let name): ("request_username", name)
    }
  }

  /// Nil for a row that no release ever wrote: a column that does not decode is damage, and the caller sets the row aside.
  static func entry(_ row: Row) -> OutboxEntry? {
    guard let id = try? row.decode(Int64.self, forColumn: "id"), let item = item(row),
      let requestID = try? row.decode(String.self, forColumn: "request_id"),
      let createdAt = try? row.decode(Int64.self, forColumn: "created_at"),
      let attempts = try? row.decode(Int.self, forColumn: "attempts")
    else { return nil }
    let retriedAt = row.integer("retried_at")
    return OutboxEntry(
      id: id, item: item, locale: row.text("locale"), requestID: requestID, createdAt: Date(milliseconds: createdAt),
      ttlStart: Date(milliseconds: retriedAt ?? createdAt), attempts: attempts)
  }

  private static func item(_ row: Row) -> OutboxItem? {
    let identifier = row.text("identifier")
    let userID = row.integer("user_id")
    return switch (row.text("kind"), identifier, userID) {
    case ("request_email", let address?, _): .request(.email(address))
    case ("request_username", let name?, _): .request(.username(name))
    case ("reset_mail", _, let userID?): .resetMail(userID: userID)
    case ("changed_mail", let recipient?, let userID?): .changedMail(userID: userID, recipient: recipient)
    default: nil
    }
  }
}

extension SQLiteStore: OutboxStore {
  public func enqueue(_ identifier: AccountIdentifier, audit: AuditRecord, locale: String, requestID: String, at now: Date, due: Date)
    async throws(StoreError)
  {
    let (kind, identifier) = OutboxCoding.columns(of: identifier)
    try await commits.add(isRefusable: true) { db in
      try db.cachedStatement(
        sql: """
          INSERT INTO password_reset_outbox (kind, identifier, locale, request_id, created_at, due_at) VALUES (?, ?, ?, ?, ?, ?)
          """
      ).run(
        .text(kind), .text(identifier), .text(locale), .text(requestID), .integer(now.milliseconds), .integer(due.milliseconds))
      try Self.insert(audit, requestID: requestID, at: now, in: db)
    }
  }

  public func claim(limit: Int, at now: Date, leaseEnd: Date) async throws(StoreError) -> [OutboxEntry] {
    try await write { db in
      let rows = try Row.fetchAll(
        db.cachedStatement(
          sql: """
            UPDATE password_reset_outbox SET due_at = ?, attempts = attempts + 1 WHERE id IN (
              SELECT id FROM password_reset_outbox WHERE buried_at IS NULL AND due_at <= ? ORDER BY due_at LIMIT ?
            ) RETURNING *
            """), arguments: [leaseEnd.milliseconds, now.milliseconds, limit])
      return try rows.compactMap { row in
        if let entry = OutboxCoding.entry(row) { return entry }
        try Self.bury(id: row["id"], reason: "the row is damaged", at: now, in: db)
        return nil
      }
    }
  }

  public func renew(_ entries: [OutboxEntry], leaseEnd: Date) async throws(StoreError) -> Set<Int64> {
    try await write { db in
      // A row whose retry lies further ahead is done with, for now.
      let update = try db.cachedStatement(
        sql: "UPDATE password_reset_outbox SET due_at = max(due_at, ?) WHERE id = ? AND attempts = ? AND buried_at IS NULL")
      return Set(
        try entries.filter { entry in
          try update.execute(arguments: [leaseEnd.milliseconds, entry.id, entry.attempts])
          return db.changesCount == 1
        }.map(\.id))
    }
  }

  public func finish(_ entry: OutboxEntry, _ outcome: OutboxOutcome, audit: AuditRecord?, at now: Date) async throws(StoreError) -> Bool {
    try await write { db in
      let held = try Bool.fetchOne(
        db.cachedStatement(sql: "SELECT attempts = ? AND buried_at IS NULL FROM password_reset_outbox WHERE id = ?"),
        arguments: [entry.attempts, entry.id])
      // A mail that went out is not owed any more, whoever holds it by now; its key is never another's.
      guard held == true || held == false && audit?.event == .mailed else { return false }
      switch outcome {
      case .done: try Self.remove(entry, in: db)
      case .split(let userIDs):
        try Self.remove(entry, in: db)
        for userID in userIDs { try Self.insertResetMail(userID: userID, insteadOf: entry, at: now, in: db) }
      // To its place in the queue.
      case .release: try db.execute(sql: "UPDATE password_reset_outbox SET due_at = created_at WHERE id = ?", arguments: [entry.id])
      case .retry(let date, let reason):
        try db.execute(
          sql: "UPDATE password_reset_outbox SET due_at = ?, last_error = ? WHERE id = ?", arguments: [date.milliseconds, reason, entry.id])
      case .bury(let reason): try Self.bury(id: entry.id, reason: reason, at: now, in: db)
      }
      if let audit { try Self.insert(audit, requestID: entry.requestID, at: now, in: db) }
      return true
    }
  }

  public func purgeDeadLetters(before date: Date, limit: Int) async throws(StoreError) -> Int {
    try await purgeOutbox(.deadLetters(before: date), limit: limit)
  }

  public func nextDue() async throws(StoreError) -> Date? {
    try await read { db in
      try Int64.fetchOne(db.cachedStatement(sql: "SELECT min(due_at) FROM password_reset_outbox WHERE buried_at IS NULL"))
        .map(Date.init(milliseconds:))
    }
  }

  public func reserveMail(_ mail: MailReservation, at now: Date) async throws(StoreError) -> MailAllowance {
    try await write { db in
      // No limit looks further back than a day, and what the clock ran ahead to must not count until then.
      try db.cachedStatement(sql: "DELETE FROM password_reset_mail_window WHERE at < ? OR at > ?")
        .execute(arguments: [Self.start(of: 86400, at: now), now.addingTimeInterval(60).milliseconds])
      let key = mail.addressKey ?? ""
      let mailKey = "\(mail.requestID).\(mail.userID)"
      let isCounted = try Bool.fetchOne(
        db.cachedStatement(sql: "SELECT true FROM password_reset_mail_window WHERE address_key = ? AND request_id = ?"), arguments: [key, mailKey])
      if isCounted != nil { return .granted }
      for limit in mail.limits
      where try Self.others(than: mail.requestID, to: key, since: Self.start(of: limit.seconds, at: now), in: db) >= limit.count {
        return .refused
      }
      if let later = try Self.laterPlace(within: mail.totalLimits, at: now, in: db) { return .later(later) }
      try db.cachedStatement(sql: "INSERT INTO password_reset_mail_window (address_key, request_id, at) VALUES (?, ?, ?)")
        .execute(arguments: [key, mailKey, now.milliseconds])
      return .granted
    }
  }

  private static func start(of seconds: Int, at now: Date) -> Int64 { now.addingTimeInterval(-Double(seconds)).milliseconds }

  /// How many other requests had mails sent to the address.
  private static func others(than requestID: String, to key: String, since start: Int64, in db: Database) throws -> Int {
    let statement = try db.cachedStatement(
      sql: """
        SELECT count(DISTINCT substr(request_id, 1, 32)) FROM password_reset_mail_window
        WHERE address_key = ? AND at > ? AND substr(request_id, 1, 32) <> ?
        """)
    return try Int.fetchOne(statement, arguments: [key, start, requestID]) ?? 0
  }

  /// When a mail more may go, if that is not now: when the oldest of as many as may go leaves the window.
  private static func laterPlace(within limits: [RateLimit], at now: Date, in db: Database) throws -> Date? {
    try limits.compactMap { limit in
      try Int64.fetchOne(
        db, sql: "SELECT at FROM password_reset_mail_window WHERE at > ? ORDER BY at DESC LIMIT 1 OFFSET ?",
        arguments: [start(of: limit.seconds, at: now), limit.count - 1]
      ).map { Date(milliseconds: $0).addingTimeInterval(Double(limit.seconds)) }
    }.max()
  }

  private static func remove(_ entry: OutboxEntry, in db: Database) throws {
    try db.cachedStatement(sql: "DELETE FROM password_reset_outbox WHERE id = ?").execute(arguments: [entry.id])
  }

  private static func insertResetMail(userID: Int64, insteadOf entry: OutboxEntry, at now: Date, in db: Database) throws {
    try db.execute(
      sql: """
        INSERT INTO password_reset_outbox (kind, user_id, locale, request_id, created_at, due_at) VALUES ('reset_mail', ?, ?, ?, ?, ?)
        """, arguments: [userID, entry.locale, entry.requestID, entry.createdAt.milliseconds, now.milliseconds])
  }

  static func insertNotice(of change: PasswordChange, at now: Date, in db: Database) throws {
    try db.execute(
      sql: """
        INSERT INTO password_reset_outbox (kind, identifier, user_id, locale, request_id, created_at, due_at)
        VALUES ('changed_mail', ?, ?, ?, ?, ?, ?)
        """, arguments: [change.user.email, change.user.id, change.locale, change.requestID, now.milliseconds, now.milliseconds])
  }

  private static func bury(id: Int64, reason: String, at now: Date, in db: Database) throws {
    try db.execute(
      sql: "UPDATE password_reset_outbox SET buried_at = ?, last_error = ? WHERE id = ?", arguments: [now.milliseconds, reason, id])
  }
}
