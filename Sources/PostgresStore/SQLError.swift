/// An error that the server reported.
struct SQLError: Error, Sendable, Equatable {
  /// The five characters of SQLSTATE.
  var state: String
  /// The first line of the server's message.
  var message: String
  /// What failed of `AFTER_RESET`, or `nil` for another statement.
  var afterReset: String?

  init(state: String, message: String) { (self.state, self.message) = (state, message) }

  private static let retryable: Set = ["40001", "40P01"]
  private static let foreign: Set = ["26000", "42P05"]
  private static let stale = foreign.union(["0A000"])

  /// Whether the transaction lost against another one, and may succeed when it is run again.
  var isConflict: Bool { Self.retryable.contains(state) }

  /// Whether this connection's prepared statements no longer fit the tables, as after a migration of the site, or are
  /// those of another session.
  var isStale: Bool { Self.stale.contains(state) }

  /// Whether a prepared statement is missing, or there already. This happens only if a pooler has begun to share connections:
  /// a new session then finds out.
  var isOfPooler: Bool { Self.foreign.contains(state) }

  /// Whether the server is a standby, or lets no one write.
  var isReadOnly: Bool { state == "25006" }

  /// Whether the error is that of one request, and not of the disk, the server or the connection. A lock that another
  /// program holds is none: each of the other requests could wait for it as long again.
  var isOfOneRequest: Bool { !isReadOnly && ["0A", "22", "23", "25", "26", "40", "42", "44", "P0"].contains(state.prefix(2)) }

  /// Whether the server could not write: its disk is full or failing.
  var isOfDisk: Bool { state.hasPrefix("53") || state.hasPrefix("58") || state.hasPrefix("XX") }
}

extension SQLError: CustomStringConvertible {
  /// The code and the message, which for a malformed value (class 22) would contain that value, and for an error that a
  /// trigger raises (class P0) any text of the site.
  var description: String {
    switch state.prefix(2) {
    case "22": "PostgreSQL error \(state)"
    case "P0": "PostgreSQL error \(state), which a trigger or function of the site raised"
    default: "PostgreSQL error \(state): \(message)"
    }
  }
}
