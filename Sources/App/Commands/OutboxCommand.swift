import ArgumentParser
import Credentials
import Foundation
import SQLiteStore

struct OutboxCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "outbox", abstract: "Look after the mails that are owed.",
    discussion: """
      A row of the outbox is a request or a mail that waits to be sent, or a dead letter: one that was given up. Works on the database that
      DATABASE_URL names, beside a running service if there is one.
      """,
    subcommands: [OutboxListCommand.self, OutboxShowCommand.self, OutboxRetryCommand.self, OutboxPurgeCommand.self])
}

struct OutboxListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List waiting jobs and dead letters.")

  @Flag(help: "List dead letters alone.")
  var dead = false

  @Flag(help: "Print a JSON object a line, for programs.")
  var json = false

  func run() async throws {
    try await CommandError.report {
      let store = try openStore(isMade: false)
      if !json { print(columns("ID", "STATE", "ATTEMPTS", "CREATED", "WHAT", "LAST ERROR")) }
      var last: Int64 = .min
      while true {
        let page = try await store.outboxRecords(after: last, limit: 500, deadLettersOnly: dead)
        for record in page { print(json ? try OutboxSummary(record).json() : line(record)) }
        guard let end = page.last?.id else { break }
        last = end
      }
      if !json {
        let counts = try await store.outboxCounts()
        print("\(counts.waiting) waiting, \(counts.dead) dead")
      }
    }
  }

  private func line(_ record: OutboxRow) -> String {
    let summary = OutboxSummary(record)
    return columns(
      "\(record.id)", summary.state, "\(record.attempts)", record.createdAt.ISO8601Format(), printable(summary.what),
      printable(record.lastError ?? ""))
  }

  private func columns(_ id: String, _ state: String, _ attempts: String, _ created: String, _ what: String, _ error: String) -> String {
    "\(padded(id, 8)) \(padded(state, 8)) \(padded(attempts, 8)) \(padded(created, 20)) \(padded(what, 40)) \(error)"
  }
}

struct OutboxShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show a row of the outbox.")

  @Argument(help: "Its number, as `outbox list` has it.")
  var id: Int64

  @Flag(help: "Print a JSON object, for programs.")
  var json = false

  func run() async throws {
    try await CommandError.report {
      guard let record = try await openStore(isMade: false).outboxRecord(id: id) else { throw CommandError.noRow }
      print(json ? try OutboxSummary(record).json() : OutboxSummary(record).text())
    }
  }
}

struct OutboxRetryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "retry", abstract: "Have rows tried again now, dead letters too.",
    discussion: "A link is made when its mail is sent, so it is fresh however old the request is. A running service takes them on within seconds.")

  @Argument(help: "Their numbers, as `outbox list` has them.")
  var ids: [Int64] = []

  @Flag(help: "All dead letters.")
  var dead = false

  func validate() throws {
    if ids.isEmpty != dead { throw ValidationError("Give either numbers or --dead.") }
  }

  func run() async throws {
    try await CommandError.report {
      let count = try await openStore(isMade: false).retryOutbox(dead ? .deadLetters(before: .distantFuture) : .ids(ids), at: Date())
      if count == 0, !dead { throw CommandError.noRow }
      print("\(count) will be tried again.\(missing(count, of: ids))")
    }
  }
}

struct OutboxPurgeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "purge", abstract: "Delete rows: those named, or old dead letters.",
    discussion: "The service deletes dead letters by itself after EMAIL_DEAD_LETTER_DAYS. What was asked for in a deleted row is not sent.")

  /// Small, so that a running service need not wait for the database.
  private static let batch = 500

  @Argument(help: "Their numbers, as `outbox list` has them.")
  var ids: [Int64] = []

  @Option(help: ArgumentHelp("All dead letters that were given up more than so many days ago; 0 for all.", valueName: "days"))
  var olderThan: Int?

  func validate() throws {
    if ids.isEmpty != (olderThan != nil) { throw ValidationError("Give either numbers or --older-than.") }
    if let olderThan, olderThan < 0 { throw ValidationError("--older-than must be 0 or more.") }
  }

  func run() async throws {
    try await CommandError.report {
      let store = try openStore(isMade: false)
      let selection = olderThan.map { OutboxSelection.deadLetters(before: Date().addingTimeInterval(-86400 * Double($0))) } ?? .ids(ids)
      var count = 0
      while case let deleted = try await store.purgeOutbox(selection, limit: Self.batch), deleted > 0 { count += deleted }
      if count == 0, olderThan == nil { throw CommandError.noRow }
      print("Deleted \(count).\(missing(count, of: ids))")
    }
  }
}

private func missing(_ count: Int, of ids: [Int64]) -> String {
  let missing = Set(ids).count - count
  return missing > 0 ? " \(missing) of them are not there." : ""
}

extension CommandError {
  fileprivate static let noRow = CommandError(message: "there is no such row; see `password-reset outbox list`")
}

/// What commands tell of a row.
private struct OutboxSummary {
  let record: OutboxRow

  init(_ record: OutboxRow) { self.record = record }

  var state: String { record.deadLetteredAt == nil ? "waiting" : "dead" }

  /// `request_email alice@example.com`, `reset_email user 7`.
  var what: String { ([record.kind] + [record.userID.map { "user \($0)" }, record.identifier].compactMap(\.self)).joined(separator: " ") }

  func text() -> String {
    let rows: [(String, String?)] = [
      ("id", "\(record.id)"), ("state", state), ("kind", record.kind), ("identifier", record.identifier), ("user", record.userID.map(\.text)),
      ("language", record.locale), ("request id", record.requestID), ("created", record.createdAt.ISO8601Format()),
      ("due", record.deadLetteredAt == nil ? record.dueAt.ISO8601Format() : nil), ("died", record.deadLetteredAt?.ISO8601Format()),
      ("attempts", "\(record.attempts)"), ("last error", record.lastError),
    ]
    return rows.compactMap { name, value in value.map { padded(name, 12) + printable($0) } }.joined(separator: "\n")
  }

  func json() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.dateEncodingStrategy = .iso8601
    return String(decoding: try encoder.encode(Document(record, state)), as: UTF8.self)
  }

  private struct Document: Encodable {
    var id: Int64
    var state, kind: String
    var identifier: String?
    var user_id: UserID?
    var language: String?
    var request_id: String
    var created_at: Date
    var due_at, dead_lettered_at: Date?
    var attempts: Int
    var last_error: String?

    init(_ record: OutboxRow, _ state: String) {
      (id, self.state, kind, identifier, user_id) = (record.id, state, record.kind, record.identifier, record.userID)
      (language, request_id, attempts, last_error) = (record.locale, record.requestID, record.attempts, record.lastError)
      (created_at, dead_lettered_at) = (record.createdAt, record.deadLetteredAt)
      due_at = record.deadLetteredAt == nil ? record.dueAt : nil
    }
  }
}
