import ArgumentParser
import Credentials
import Foundation
import PasswordReset
import Text

struct AuditCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit", abstract: "Show the audit trail of requests, emails and links.",
    discussion: """
      Prints the latest events, with the newest last. The audit trail does not contain the addresses and user names that people typed, only keyed \
      hashes of them. --identifier searches for such a hash: it needs SECRET_KEY, and SECRET_KEY_FALLBACKS for events from before a change of the \
      key. CLIENT is the keyed hash of the client's network, an IPv4 address or the /64 of an IPv6 address: events of one client have the same. \
      --client-address searches for it and needs the keys as well. Events are kept for AUDIT_DAYS. Works on the database that DATABASE_URL names. The service may be running.

        password-reset audit --identifier alice@example.com --since 24h
        password-reset audit --event mail_failed --json
        password-reset audit --client-address 203.0.113.7 --since 1h
        password-reset audit --follow --json | logger -t password-reset-audit
      """)

  /// A number of events that always fits into memory.
  private static let limits = 1...100_000

  @Option(help: ArgumentHelp("Show only this event.", valueName: "event"))
  fileprivate var event: EventName?

  @Option(help: ArgumentHelp("Show only events of the user with this user name, email address or id.", valueName: "user"))
  var user: String?

  @Option(help: ArgumentHelp("Show only events for this typed address or user name, even if no such user exists.", valueName: "text"))
  var identifier: String?

  @Option(help: ArgumentHelp("Show only events of the client with this key, as the CLIENT column shows it.", valueName: "key"))
  var client: String?

  @Option(help: ArgumentHelp("Show only events of the client with this IP address.", valueName: "address"))
  var clientAddress: String?

  @Option(help: ArgumentHelp("Show only the request with this X-Request-Id.", valueName: "id"))
  var requestID: String?

  @Option(
    help: ArgumentHelp(
      "Show only events since then: 90m, 24h or 7d ago, a day such as 2026-11-01, or a time such as 2026-11-01T09:30:00+01:00. The default zone is UTC.",
      valueName: "when"), transform: moment)
  var since: Date?

  @Option(help: ArgumentHelp("The maximum number of events.", valueName: "count"))
  var limit = 100

  @Flag(help: "Print one JSON object per line.")
  var json = false

  @Flag(help: "Then print new events as they are recorded, until interrupted.")
  var follow = false

  func validate() throws {
    if client != nil, clientAddress != nil { throw ValidationError("Use either --client or --client-address.") }
    if let clientAddress, IPAddress(clientAddress) == nil { throw ValidationError("--client-address must be an IP address, such as 203.0.113.7.") }
    if !Self.limits.contains(limit) { throw ValidationError("--limit must be from \(Self.limits.lowerBound) to \(Self.limits.upperBound).") }
  }

  func run() async throws {
    try await CommandError.withExitCodes {
      let store = try openStore(createIfMissing: false)
      let filter = try await filter(store)
      if !json { print(Self.table.row("TIME", "EVENT", "USER", "IDENTIFIER", "CLIENT", padded("REQUEST", 32) + " DETAIL")) }
      if follow {
        try await AuditPrinter(store: store, filter: filter, line: line).run(limit: limit)
      } else {
        for row in try await store.auditRows(filter, limit: limit) { print(try line(row)) }
      }
    }
  }

  private func filter(_ store: any Store) async throws -> AuditFilter {
    var filter = AuditFilter()
    (filter.event, filter.requestID, filter.since) = (event?.event, requestID, since)
    if let user { filter.userID = try await store.existing(user).id }
    if let identifier { filter.identifierKeys = try Self.hashers().map { $0.key(for: identifier) } }
    if let client { filter.clientKeys = [client] }
    if let address = clientAddress.flatMap({ IPAddress($0) }) { filter.clientKeys = try Self.hashers().map { $0.key(forClient: address.network) } }
    return filter
  }

  private static func hashers() throws -> [IdentifierHasher] {
    let tokens = try TokenSettings(environment: ProcessInfo.processInfo.environment)
    return ([tokens.secretKey] + tokens.secretKeyFallbacks).map { IdentifierHasher(secretKey: $0) }
  }

  private static let table = Table(20, 12, 8, 32, 32)

  private func line(_ row: AuditRow) throws -> String {
    json
      ? try Output.jsonLine(Document(row))
      : Self.table.row(
        row.at.ISO8601Format(), row.event, row.userID?.text ?? "-", row.identifierKey ?? "-", row.clientKey ?? "-",
        row.requestID + (row.detail.map { " " + $0 } ?? ""))
  }

  private struct Document: Encodable {
    var id: Int64
    var at: Date
    var event: String
    var userID: UserID?
    var identifierKey: String?
    var clientKey: String?
    var requestID: String
    var detail: JSONValue?

    init(_ row: AuditRow) {
      (id, at, event) = (row.id, row.at, row.event)
      (userID, identifierKey, clientKey, requestID) = (row.userID, row.identifierKey, row.clientKey, row.requestID)
      detail = row.detail.map(JSONValue.init(json:))
    }
  }
}

/// The name of an audit event on the command line.
private struct EventName: ExpressibleByArgument {
  var event: AuditEvent

  static let allValueStrings = AuditEvent.allCases.map(\.rawValue)

  init?(argument: String) {
    guard let event = AuditEvent(rawValue: argument) else { return nil }
    self.event = event
  }
}

/// Parses a time before now (`90m`, `24h`, `7d`), a day, or a time in ISO 8601.
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
    // The parser takes 30 February for 2 March, so compare the result with the input.
    let date = try? Date(clock, strategy: .iso8601), date.ISO8601Format() == clock
  else { throw ValidationError("It must be a time such as 90m, 24h, 7d, 2026-11-01 or 2026-11-01T09:30:00Z.") }
  return date.addingTimeInterval(-seconds(of: match.4 ?? "Z"))
}

/// The difference from UTC, in seconds, of a zone such as `+01:00`.
private func seconds(of zone: Substring) -> Double {
  guard zone != "Z", let hours = Double(zone.dropFirst().prefix(2)), let minutes = Double(zone.suffix(2)) else { return 0 }
  return (zone.hasPrefix("-") ? -1 : 1) * (hours * 3600 + minutes * 60)
}
