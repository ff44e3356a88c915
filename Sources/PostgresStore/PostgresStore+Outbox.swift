import Credentials
public import Foundation
public import PasswordReset

extension PostgresStore: OutboxStore {
  public func enqueue(_ job: NewJob, audit: AuditRecord) async throws(StoreError) -> Job {
    let columns = job.kind.columns
    let command = Command(
      OutboxStatements.enqueue, columns.kind, columns.identifier, columns.userID?.text, job.locale, job.requestID, job.createdAt.milliseconds,
      job.due.milliseconds, job.owner, job.firstAttempts, audit.event.rawValue, audit.userID?.text, audit.identifierKey,
      audit.clientKey)
    let rows = try await write([command] + notification(of: [job]), isRefusable: true)
    guard let id = rows.first?.first?.integer(0) else { throw .unavailable(reason: "the server did not return the id of a new job") }
    return job.stored(as: id)
  }

  /// Tells the other instances of jobs that are not leased to this one.
  func notification(of jobs: [NewJob]) -> [Command] {
    let channels = Set(jobs.filter { $0.owner == nil }.map(\.kind.channel))
    return channels.map { JobListener.notify($0, origin: origin) }
  }

  public func jobNotifications() -> [JobChannel: AsyncStream<Void>] { JobListener.notifications(address, origin: origin) }

  public func claim(_ channel: JobChannel, limit: Int, owner: String, at now: Date, leaseEnd: Date) async throws(StoreError) -> [Job] {
    let orphaned = now.addingTimeInterval(-Self.orphanAge)
    let rows = try await write(
      Command(OutboxStatements.claim[channel], owner, leaseEnd.milliseconds, now.milliseconds, limit, orphaned.milliseconds))
    let jobs = rows.map { (id: $0.integer(0), job: JobColumns.job($0)) }
    let damaged = jobs.filter { $0.job == nil }.compactMap(\.id)
    if !damaged.isEmpty { _ = try await write(Command(OutboxStatements.deadLetterDamaged, damaged, owner, now.milliseconds)) }
    return jobs.compactMap(\.job)
  }

  public func extendLeases(of ids: [Int64], owner: String, to leaseEnd: Date) async throws(StoreError) -> Set<Int64> {
    Set(try await write(Command(OutboxStatements.extend, ids, owner, leaseEnd.milliseconds)).map { $0.integer(0) }.compactMap(\.self))
  }

  public func release(_ ids: [Int64], owner: String) async throws(StoreError) {
    _ = try await write(Command(OutboxStatements.release, ids, owner))
  }

  public func finish(_ job: Job, owner: String, _ outcome: JobOutcome, adding jobs: [NewJob], at now: Date) async throws(StoreError) -> Bool {
    let audit = outcome.audit
    let added = try JobDocument.json(jobs)
    func command(_ statement: Statement, _ more: any Value...) -> Command {
      var command = Command(
        statement, job.id, owner, outcome.isSent, now.milliseconds, job.requestID, audit?.event.rawValue, audit?.userID?.text, audit?.identifierKey)
      command.values += more.map { $0.postgresText }
      return command
    }
    let change =
      switch outcome {
      case .done where jobs.isEmpty: command(OutboxStatements.done)
      case .done: command(OutboxStatements.doneWithJobs, added)
      case .split(let userIDs, _):
        command(OutboxStatements.split, added, job.locale, job.createdAt.milliseconds, Self.json(userIDs), job.kind.requestedAddress)
      case .release: command(OutboxStatements.finishByRelease, added)
      case .retry(let date, let reason): command(OutboxStatements.retry, added, date.milliseconds, Self.storable(reason))
      case .deadLetter(let reason, _): command(OutboxStatements.deadLetter, added, Self.storable(reason))
      }
    return try await write([change] + notification(of: jobs))[0].first?.integer(0) == 1
  }

  public func purgeDeadLetters(before date: Date, limit: Int) async throws(StoreError) -> Int {
    try await purgeOutbox(.deadLetters(before: date), limit: limit)
  }

  public func correctTimes(_ channel: JobChannel, lease: TimeInterval, longestWait: OutboxWait, now: @escaping @Sendable () -> Date)
    async throws(StoreError) -> Int
  {
    func command(_ statement: Statement, _ more: (Date, Date) -> [Int64]) -> Command {
      let (now, leaseEnd) = (now(), now().addingTimeInterval(lease))
      let limits = [
        now.milliseconds + Self.clockTolerance, leaseEnd.milliseconds + Self.clockTolerance, Int64(longestWait.first * 1000),
        Int64(longestWait.longest * 1000),
      ]
      return Command(statement, values: (limits + more(now, leaseEnd)).map(String.init))
    }
    // Nearly always there is nothing to correct.
    guard try await read(command(OutboxStatements.hasWrongTimes[channel]) { _, _ in [] }).first?.isTrue(0) == true else { return 0 }
    return try await write(command(OutboxStatements.correctTimes[channel]) { [$0.milliseconds, $1.milliseconds] }).changes
  }

  public func nextDue(_ channel: JobChannel, owner: String) async throws(StoreError) -> Date? {
    try await read(Command(OutboxStatements.nextDue[channel], owner)).first?.integer(0).map(Date.init(milliseconds:))
  }

  public func lastRetry(_ channel: JobChannel) async throws(StoreError) -> Date? {
    try await read(Command(OutboxStatements.lastRetry[channel])).first?.integer(0).map(Date.init(milliseconds:))
  }

  private static func json(_ userIDs: [UserID]) -> String { "[\(userIDs.map { "\"\($0.text)\"" }.joined(separator: ","))]" }

  /// A mail server may send any bytes in its reply.
  private static func storable(_ reason: String) -> String { reason.replacing("\0", with: "\u{FFFD}") }
}

/// How a job is read from the columns that ``list`` names.
enum JobColumns {
  static let list =
    "id, kind, identifier, user_id, locale, request_id, created_at, due_at, attempts, last_error, dead_lettered_at, retried_at"

  /// Returns `nil` for a row that does not decode; the caller dead-letters it.
  static func job(_ row: Row) -> Job? {
    guard let id = row.integer(0), let kind = JobKind(kind: row.text(1), identifier: row.text(2), userID: row.text(3).map(UserID.init(_:))),
      let requestID = row.text(5), let createdAt = row.integer(6), let attempts = row.integer(8)
    else { return nil }
    return Job(
      id: id, kind: kind, locale: row.text(4), requestID: requestID, createdAt: Date(milliseconds: createdAt),
      ttlStart: Date(milliseconds: row.integer(11) ?? createdAt), attempts: Int(attempts))
  }
}
