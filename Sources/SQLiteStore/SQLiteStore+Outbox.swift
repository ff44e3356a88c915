import Credentials
public import Foundation
import GRDB
public import PasswordReset

extension SQLiteStore: OutboxStore {
  public func enqueue(_ job: NewJob, audit: AuditRecord) async throws(StoreError) -> Job {
    try await commits.add(isRefusable: true) { db in
      let job = try Self.insert(job, in: db)
      try Self.insert(audit, requestID: job.requestID, at: job.createdAt, in: db)
      return job
    }
  }

  public func claim(_ channel: JobChannel, limit: Int, owner: String, at now: Date, leaseEnd: Date) async throws(StoreError) -> [Job] {
    try await write { db in
      let rows = try Row.fetchAll(
        db.cachedStatement(
          sql: """
            UPDATE password_reset_outbox SET owner = ?1, due_at = ?2, attempts = min(attempts + 1, 1 << 31) WHERE id IN (
              SELECT id FROM password_reset_outbox WHERE dead_lettered_at IS NULL AND \(channel.condition) AND due_at <= ?3 AND (owner IS NOT ?1 OR due_at <= ?5)
              ORDER BY due_at LIMIT ?4
            ) RETURNING *
            """),
        arguments: [owner, leaseEnd.milliseconds, now.milliseconds, limit, now.addingTimeInterval(-Self.orphanAge).milliseconds])
      return try rows.compactMap { row in
        if let job = JobCoding.job(row) { return job }
        if let id = row.integer("id") { try Self.deadLetter(id, reason: "the row is damaged", at: now, in: db) }
        return nil
      }
    }
  }

  public func extendLeases(of ids: [Int64], owner: String, to leaseEnd: Date) async throws(StoreError) -> Set<Int64> {
    try await write { db in
      let update = try db.cachedStatement(
        sql: """
          UPDATE password_reset_outbox SET due_at = max(due_at, ?)
          WHERE id IN (SELECT value FROM json_each(?)) AND owner = ? AND dead_lettered_at IS NULL RETURNING id
          """)
      return Set(try Int64.fetchAll(update, arguments: [leaseEnd.milliseconds, Self.json(ids), owner]))
    }
  }

  public func release(_ ids: [Int64], owner: String) async throws(StoreError) {
    try await write { db in
      try db.cachedStatement(
        sql:
          "UPDATE password_reset_outbox SET owner = NULL, due_at = created_at, attempts = max(attempts - 1, 0) WHERE id IN (SELECT value FROM json_each(?)) AND owner = ?"
      ).execute(arguments: [Self.json(ids), owner])
    }
  }

  public func finish(_ job: Job, owner: String, _ outcome: JobOutcome, adding jobs: [NewJob], at now: Date) async throws(StoreError) -> Bool {
    try await write { db in
      guard try Self.end(job, owner: owner, outcome, in: db) else { return false }
      switch outcome {
      case .done: break
      case .split(let userIDs, _):
        for userID in userIDs {
          let kind = JobKind.resetEmail(userID: userID, requested: job.kind.requestedAddress)
          _ = try Self.insert(NewJob(kind, locale: job.locale, requestID: job.requestID, createdAt: job.createdAt, due: now), in: db)
        }
      // The old creation time returns the job to its position in the queue.
      case .release:
        try db.cachedStatement(
          sql: "UPDATE password_reset_outbox SET owner = NULL, due_at = created_at, attempts = max(attempts - 1, 0) WHERE id = ?"
        )
        .execute(arguments: [job.id])
      case .retry(let date, let reason):
        try db.cachedStatement(sql: "UPDATE password_reset_outbox SET owner = NULL, due_at = ?, last_error = ? WHERE id = ?")
          .execute(arguments: [date.milliseconds, reason, job.id])
      case .deadLetter(let reason, _): try Self.deadLetter(job.id, reason: reason, at: now, in: db)
      }
      for job in jobs { _ = try Self.insert(job, in: db) }
      if let audit = outcome.audit { try Self.insert(audit, requestID: job.requestID, at: now, in: db) }
      return true
    }
  }

  public func purgeDeadLetters(before date: Date, limit: Int) async throws(StoreError) -> Int {
    try await purgeOutbox(.deadLetters(before: date), limit: limit)
  }

  public func correctTimes(_ channel: JobChannel, lease: TimeInterval, longestWait: OutboxWait, now: @escaping @Sendable () -> Date)
    async throws(StoreError) -> Int
  {
    let limits: @Sendable (Date) -> StatementArguments = { now in
      [
        "future": now.milliseconds + Self.clockTolerance, "tooLate": now.addingTimeInterval(lease).milliseconds + Self.clockTolerance,
        "first": Int64(longestWait.first * 1000), "longest": Int64(longestWait.longest * 1000),
      ]
    }
    // Nearly always there is nothing to correct, and a read waits for no lock.
    let isNeeded = try await read { db in
      try Bool.fetchOne(db, sql: "SELECT EXISTS (\(Self.wrongTimes(channel)))", arguments: limits(now())) ?? false
    }
    guard isNeeded else { return 0 }
    return try await write { db in
      let now = now()
      try db.execute(
        sql: """
          UPDATE password_reset_outbox SET
            created_at = min(created_at, :now), retried_at = min(retried_at, :now),
            dead_lettered_at = CASE WHEN dead_lettered_at > :future THEN NULL ELSE dead_lettered_at END,
            due_at = min(due_at, CASE WHEN owner IS NULL THEN :now ELSE :leaseEnd END)
          WHERE id IN (\(Self.wrongTimes(channel)))
          """, arguments: limits(now) + ["now": now.milliseconds, "leaseEnd": now.addingTimeInterval(lease).milliseconds])
      return db.changesCount
    }
  }

  /// Selects the jobs whose times a clock that was ahead must have recorded.
  private static func wrongTimes(_ channel: JobChannel) -> String {
    """
    SELECT id FROM password_reset_outbox
    WHERE \(channel.condition) AND (
      created_at > :future OR retried_at > :future OR dead_lettered_at > :future OR dead_lettered_at IS NULL AND CASE
        WHEN owner IS NULL THEN due_at > :future + min(:longest, :first * (1 << min(max(attempts, 1) - 1, 20))) ELSE due_at > :tooLate END)
    """
  }

  public func nextDue(_ channel: JobChannel, owner: String) async throws(StoreError) -> Date? {
    try await read { db in
      try Int64.fetchOne(
        db.cachedStatement(
          sql: "SELECT min(due_at) FROM password_reset_outbox WHERE dead_lettered_at IS NULL AND \(channel.condition) AND owner IS NOT ?"),
        arguments: [owner]
      ).map(Date.init(milliseconds:))
    }
  }

  public func lastRetry(_ channel: JobChannel) async throws(StoreError) -> Date? {
    try await read { db in
      try Int64.fetchOne(
        db.cachedStatement(sql: "SELECT max(retried_at) FROM password_reset_outbox WHERE dead_lettered_at IS NULL AND \(channel.condition)")
      )
      .map(Date.init(milliseconds:))
    }
  }

  public func reserve(_ email: EmailReservation, now: @escaping @Sendable () -> Date) async throws(StoreError) -> EmailAllowance {
    try await write { db in
      let now = now()
      // No limit looks further back than a day. If the clock was set back, a time in the future must not count for
      // longer than the limit.
      try db.cachedStatement(sql: "DELETE FROM password_reset_mail_window WHERE at < ? OR at > ?")
        .execute(arguments: [Self.start(of: 86400, at: now), now.addingTimeInterval(60).milliseconds])
      let key = email.addressKey ?? ""
      let isCounted = try Bool.fetchOne(
        db.cachedStatement(sql: "SELECT true FROM password_reset_mail_window WHERE address_key = ? AND request_id = ? AND user_id = ?"),
        arguments: [key, email.requestID, email.userID.text])
      if isCounted != nil { return .granted }
      for limit in email.limits
      where try Self.others(than: email.requestID, to: key, since: Self.start(of: limit.seconds, at: now), in: db) >= limit.count {
        return .refused
      }
      if let later = try Self.nextAllowed(within: email.totalLimits, at: now, in: db) { return .later(later) }
      try db.cachedStatement(sql: "INSERT INTO password_reset_mail_window (address_key, request_id, user_id, at) VALUES (?, ?, ?, ?)")
        .execute(arguments: [key, email.requestID, email.userID.text, now.milliseconds])
      return .granted
    }
  }

  private static func start(of seconds: Int, at now: Date) -> Int64 { now.addingTimeInterval(-Double(seconds)).milliseconds }

  /// Returns how many other requests had emails sent to the address.
  private static func others(than requestID: String, to key: String, since start: Int64, in db: Database) throws -> Int {
    let statement = try db.cachedStatement(
      sql: "SELECT count(DISTINCT request_id) FROM password_reset_mail_window WHERE address_key = ? AND at > ? AND request_id <> ?")
    return try Int.fetchOne(statement, arguments: [key, start, requestID]) ?? 0
  }

  /// Returns when the oldest of the emails that fill a limit leaves its window, or `nil` if an email may be sent now.
  private static func nextAllowed(within limits: [RateLimit], at now: Date, in db: Database) throws -> Date? {
    try limits.compactMap { limit in
      try Int64.fetchOne(
        db, sql: "SELECT at FROM password_reset_mail_window WHERE at > ? ORDER BY at DESC LIMIT 1 OFFSET ?",
        arguments: [start(of: limit.seconds, at: now), limit.count - 1]
      ).map { Date(milliseconds: $0).addingTimeInterval(Double(limit.seconds)) }
    }.max()
  }

  /// Adds a job in the transaction that causes it. A job with an owner is leased from the start, which is its first attempt.
  static func insert(_ job: NewJob, in db: Database) throws -> Job {
    let (kind, identifier, userID) = job.kind.columns
    let attempts = job.owner == nil ? 0 : 1
    try db.cachedStatement(
      sql: """
        INSERT INTO password_reset_outbox (kind, identifier, user_id, locale, request_id, created_at, due_at, owner, attempts)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """
    ).run(
      .text(kind), RawParameter(identifier), RawParameter(userID?.text), RawParameter(job.locale), .text(job.requestID),
      .integer(job.createdAt.milliseconds), .integer(job.due.milliseconds), RawParameter(job.owner), .integer(Int64(attempts)))
    return Job(
      id: db.lastInsertedRowID, kind: job.kind, locale: job.locale, requestID: job.requestID, createdAt: job.createdAt,
      ttlStart: job.createdAt, attempts: attempts)
  }

  /// Deletes the job if its outcome ends it, and returns whether the outcome counts: only the owner's, except that what was sent must not
  /// be sent again by a later owner. Ids are never reused, so the row is this job's.
  private static func end(_ job: Job, owner: String, _ outcome: JobOutcome, in db: Database) throws -> Bool {
    let isOwned = "id = ? AND (owner IS ? AND dead_lettered_at IS NULL OR ?)"
    let parameters: [RawParameter] = [.integer(job.id), .text(owner), .integer(outcome.isSent ? 1 : 0)]
    switch outcome {
    case .done, .split:
      _ = try db.cachedStatement(sql: "DELETE FROM password_reset_outbox WHERE \(isOwned)").rows(parameters) { _ in () }
      return db.changesCount > 0
    case .release, .retry, .deadLetter:
      return try db.cachedStatement(sql: "SELECT 1 FROM password_reset_outbox WHERE \(isOwned)").rows(parameters) { _ in () }.count > 0
    }
  }

  private static func deadLetter(_ id: Int64, reason: String, at now: Date, in db: Database) throws {
    try db.execute(
      sql: "UPDATE password_reset_outbox SET owner = NULL, dead_lettered_at = ?, last_error = ? WHERE id = ?",
      arguments: [now.milliseconds, reason, id])
  }

  private static func json(_ ids: [Int64]) -> String { "[\(ids.map(String.init).joined(separator: ","))]" }
}

extension JobChannel {
  /// Selects the jobs of the channel. The indexes contain the same text.
  fileprivate var condition: String {
    switch self {
    case .email: "kind <> '\(JobKind.webhookKind)'"
    case .webhook: "kind = '\(JobKind.webhookKind)'"
    }
  }
}
