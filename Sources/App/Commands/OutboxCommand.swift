import ArgumentParser
import Credentials
import Foundation
import PasswordReset

struct OutboxCommand: CommandGroup {
  static let configuration = CommandConfiguration(
    commandName: "outbox", abstract: "Inspect and manage the outbox.",
    discussion: """
      The outbox contains the jobs that the service has yet to process: requests, emails and webhooks. A dead letter is a job that the service no longer \
      attempts. Works on the database that DATABASE_URL names. The service may be running.
      """,
    subcommands: [OutboxListCommand.self, OutboxShowCommand.self, OutboxRetryCommand.self, OutboxPurgeCommand.self])
}

struct OutboxListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List waiting jobs and dead letters.")

  @Flag(help: "List only dead letters.")
  var dead = false

  @Flag(help: "Print one JSON object per line.")
  var json = false

  func run() async throws {
    try await CommandError.withExitCodes {
      let store = try openStore(createIfMissing: false)
      let table = Table(8, 8, 8, 20, 40)
      if !json { print(table.row("ID", "STATE", "ATTEMPTS", "CREATED", "WHAT", "LAST ERROR")) }
      var last: Int64?
      while true {
        let page = try await store.outboxRows(after: last, limit: 500, deadLettersOnly: dead)
        for summary in page.map(OutboxSummary.init) { print(json ? try summary.json() : table.row(summary)) }
        guard let end = page.last?.id else { break }
        last = end
      }
      if !json {
        let counts = try await store.outboxCounts()
        print("\(counts.waiting) waiting, \(counts.dead) dead")
      }
    }
  }
}

struct OutboxShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show a job in the outbox.")

  @Argument(help: "The number that `outbox list` shows.")
  var id: Int64

  @Flag(help: "Print a JSON object.")
  var json = false

  func run() async throws {
    try await CommandError.withExitCodes {
      guard let record = try await openStore(createIfMissing: false).outboxRow(id: id) else { throw CommandError.noJob }
      print(json ? try OutboxSummary(record).json() : OutboxSummary(record).text())
    }
  }
}

struct OutboxRetryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "retry", abstract: "Retry emails and webhooks now, including dead letters.",
    discussion: """
      A reset link is created when its email is sent, so it is fresh even if the request is old. A running service retries them within seconds.

        password-reset outbox retry --waiting     # the mail server, or the receiver of webhooks, is back
        password-reset outbox retry --dead
      """)

  @Argument(help: "The numbers that `outbox list` shows.")
  var ids: [Int64] = []

  @Flag(help: "Retry all dead letters.")
  var dead = false

  @Flag(help: "Retry all jobs that wait for their next attempt.")
  var waiting = false

  func validate() throws {
    if ids.isEmpty != (dead || waiting) { throw ValidationError("Name the jobs by their numbers, or give --waiting, --dead or both.") }
  }

  func run() async throws {
    try await CommandError.withExitCodes {
      let store = try openStore(createIfMissing: false)
      let selections: [OutboxSelection] = (waiting ? [.waiting] : []) + (dead ? [.deadLetters(before: .distantFuture)] : [])
      var count = 0
      for selection in ids.isEmpty ? selections : [.ids(ids)] { count += try await store.retryOutbox(selection, at: Date()) }
      if count == 0, !ids.isEmpty { throw CommandError.noJob }
      print("Retrying \(counted(count, "job")).\(missing(count, of: ids))")
    }
  }
}

struct OutboxPurgeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "purge", abstract: "Delete jobs by number, or old dead letters.",
    discussion: "The service deletes dead letters after EMAIL_DEAD_LETTER_DAYS. The email or webhook of a deleted job is never sent.")

  /// Deletes in small steps, so that a running service does not have to wait for the database.
  private static let batch = 500

  @Argument(help: "The numbers that `outbox list` shows.")
  var ids: [Int64] = []

  @Option(help: ArgumentHelp("Delete the dead letters that are older than this number of days, or all with 0.", valueName: "days"))
  var olderThan: Int?

  func validate() throws {
    if ids.isEmpty != (olderThan != nil) { throw ValidationError("Name the jobs by their numbers, or give --older-than.") }
    if let olderThan, olderThan < 0 { throw ValidationError("--older-than must be 0 or more.") }
  }

  func run() async throws {
    try await CommandError.withExitCodes {
      let store = try openStore(createIfMissing: false)
      let selection = olderThan.map { OutboxSelection.deadLetters(before: Date().addingTimeInterval(-86400 * Double($0))) } ?? .ids(ids)
      var count = 0
      while case let deleted = try await store.purgeOutbox(selection, limit: Self.batch), deleted > 0 { count += deleted }
      if count == 0, olderThan == nil { throw CommandError.noJob }
      print("Deleted \(count).\(missing(count, of: ids))")
    }
  }
}

/// Says how many of the numbers name no job, if there are any.
private func missing(_ count: Int, of ids: [Int64]) -> String {
  let missing = Set(ids).count - count
  return missing > 0 ? " \(missing) not found." : ""
}

extension CommandError {
  fileprivate static let noJob = CommandError(message: "There is no such job. `password-reset outbox list` shows all jobs.")
}

/// A job as the commands show it.
private struct OutboxSummary {
  let record: OutboxRow

  init(_ record: OutboxRow) { self.record = record }

  var state: String { record.deadLetteredAt == nil ? "waiting" : "dead" }

  /// `request_email alice@example.com`, `reset_email user 7`.
  var what: String { ([record.kind] + [record.userID.map { "user \($0)" }, record.identifier].compactMap(\.self)).joined(separator: " ") }

  func text() -> String {
    let rows: [(name: String, value: String?)] = [
      ("id", "\(record.id)"), ("state", state), ("kind", record.kind), ("identifier", record.identifier), ("user", record.userID.map(\.text)),
      ("language", record.locale), ("request id", record.requestID), ("created", record.createdAt.ISO8601Format()),
      ("due", record.deadLetteredAt == nil ? record.dueAt.ISO8601Format() : nil), ("dead since", record.deadLetteredAt?.ISO8601Format()),
      ("attempts", "\(record.attempts)"), ("last error", record.lastError),
    ]
    return Output.list(rows)
  }

  func json() throws -> String { try Output.jsonLine(Document(record, state)) }

  private struct Document: Encodable {
    var id: Int64
    var state, kind: String
    var identifier: String?
    var userID: UserID?
    var language: String?
    var requestID: String
    var createdAt: Date
    var dueAt, deadLetteredAt: Date?
    var attempts: Int
    var lastError: String?

    init(_ record: OutboxRow, _ state: String) {
      (id, self.state, kind, identifier, userID) = (record.id, state, record.kind, record.identifier, record.userID)
      (language, requestID, attempts, lastError) = (record.locale, record.requestID, record.attempts, record.lastError)
      (createdAt, deadLetteredAt) = (record.createdAt, record.deadLetteredAt)
      dueAt = record.deadLetteredAt == nil ? record.dueAt : nil
    }
  }
}

extension Table {
  fileprivate func row(_ summary: OutboxSummary) -> String {
    let record = summary.record
    return row(
      "\(record.id)", summary.state, "\(record.attempts)", record.createdAt.ISO8601Format(), summary.what, record.lastError ?? "")
  }
}
