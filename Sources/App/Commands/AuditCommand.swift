import ArgumentParser
import Credentials
import Foundation
import PasswordReset
import SQLiteStore

struct AuditCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit", abstract: "Show what became of requests, mails and links.",
    discussion: """
      The newest lines, the newest last. Addresses and user names that were typed are not kept, only keyed hashes of them, by which --identifier
      finds them: it needs SECRET_KEY, and SECRET_KEY_FALLBACKS for what is older. Lines are kept for AUDIT_DAYS. Works on the database that
      DATABASE_URL names, beside a running service if there is one.

        password-reset audit --identifier alice@example.com --since 24h
        password-reset audit --event mail_failed --json
      """)

  /// What fits into memory however long the lines.
  private static let limits = 1...100_000

  @Option(help: ArgumentHelp("Only this event.", valueName: "event"))
  fileprivate var event: EventName?

  @Option(help: ArgumentHelp("Only the user of this name.", valueName: "username"))
  var user: String?

  @Option(help: ArgumentHelp("Only what concerns this address or user name, whether there is such a user or not.", valueName: "text"))
  var identifier: String?

  @Option(help: ArgumentHelp("Only the request that had this X-Request-Id.", valueName: "id"))
  var requestID: String?

  @Option(
    help: ArgumentHelp(
      "Only from then on: 90m, 24h or 7d ago, a day such as 2026-11-01, or a time such as 2026-11-01T09:30:00+01:00; in UTC if it names no zone.",
      valueName: "when"), transform: moment)
  var since: Date?

  @Option(help: ArgumentHelp("At most so many lines.", valueName: "count"))
  var limit = 100

  @Flag(help: "Print a JSON object a line, for programs.")
  var json = false

  func validate() throws {
    if !Self.limits.contains(limit) { throw ValidationError("--limit must be from \(Self.limits.lowerBound) to \(Self.limits.upperBound).") }
  }

  func run() async throws {
    try await CommandError.report {
      let store = try openStore(isMade: false)
      var filter = AuditFilter()
      (filter.event, filter.requestID, filter.since) = (event?.event, requestID, since)
      if let user { filter.userID = try await store.existing(user).id }
      if let identifier {
        let tokens = try TokenSettings(environment: ProcessInfo.processInfo.environment)
        filter.identifierKeys = ([tokens.secretKey] + tokens.secretKeyFallbacks).map { IdentifierHasher(secretKey: $0).key(for: identifier) }
      }
      if !json { print(columns("TIME", "EVENT", "USER", "IDENTIFIER", "REQUEST")) }
      for row in try await store.auditRows(filter, limit: limit) { print(json ? try document(row) : line(row)) }
    }
  }

  private func line(_ row: AuditRow) -> String {
    columns(
      row.at.ISO8601Format(), printable(row.event), row.userID.map(\.text) ?? "-", row.identifierKey.map(printable) ?? "-",
      printable(row.requestID))
  }

  private func columns(_ time: String, _ event: String, _ user: String, _ identifier: String, _ request: String) -> String {
    "\(padded(time, 20)) \(padded(event, 12)) \(padded(user, 8)) \(padded(identifier, 32)) \(request)"
  }

  private func document(_ row: AuditRow) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.dateEncodingStrategy = .iso8601
    return String(decoding: try encoder.encode(Document(row)), as: UTF8.self)
  }

  private struct Document: Encodable {
    var id: Int64
    var at: Date
    var event: String
    var user_id: UserID?
    var identifier_key: String?
    var request_id: String

    init(_ row: AuditRow) {
      (id, at, event) = (row.id, row.at, row.event)
      (user_id, identifier_key, request_id) = (row.userID, row.identifierKey, row.requestID)
    }
  }
}

/// An event of the audit, by its name there.
private struct EventName: ExpressibleByArgument {
  var event: AuditEvent

  static let allValueStrings = AuditEvent.allCases.map(\.rawValue)

  init?(argument: String) {
    guard let event = AuditEvent(rawValue: argument) else { return nil }
    self.event = event
  }
}

/// `90m`, `24h`, `7d` before now; a day; or a time of ISO 8601.
private func moment(_ text: String) throws -> Date {
  if let match = text.wholeMatch(of: /([0-9]{1,6})([mhd])/), let count = Double(match.1) {
    let seconds: Double =
      switch match.2 {
      case "m": 60
      case "h": 3600
      default: 86400
      }
    return Date().addingTimeInterval(-count * seconds)
  }
  let time = text.count == 10 ? text + "T00:00" : text
  let shape = /([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})(:[0-9]{2}(?:\.[0-9]{1,9})?)?(Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?/
  guard let match = time.wholeMatch(of: shape), case let clock = "\(match.1)T\(match.2)\((match.3 ?? ":00").prefix(3))Z",
    // What does not parse is no time, and neither is what comes back as another one: the parser takes 30 February for 2 March.
    let date = try? Date(clock, strategy: .iso8601), date.ISO8601Format() == clock
  else { throw ValidationError("it must be 90m, 24h, 7d, a day such as 2026-11-01, or a time such as 2026-11-01T09:30:00Z.") }
  return date.addingTimeInterval(-seconds(of: match.4 ?? "Z"))
}

/// How far the clocks of a zone such as `+01:00` are ahead.
private func seconds(of zone: Substring) -> Double {
  guard zone != "Z", let hours = Double(zone.dropFirst().prefix(2)), let minutes = Double(zone.suffix(2)) else { return 0 }
  return (zone.hasPrefix("-") ? -1 : 1) * (hours * 3600 + minutes * 60)
}
