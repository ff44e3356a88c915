import Foundation
import PasswordReset

/// How far the server's clock and this machine's differ.
enum ClockDifference {
  /// A difference of up to this many seconds has no effect: a lease of a job is longer.
  static let tolerance = 5.0

  /// Returns what to report about the server's clock, or `nil` if it agrees with this machine's.
  /// - Parameter server: what the server's clock showed, in seconds since 1970, at a time between `start` and `end` by this
  ///   machine's clock. A slow answer is no difference.
  static func risk(server: Double, start: Date, end: Date) -> DatabaseRisk? {
    let (ahead, behind) = (server - end.timeIntervalSince1970, start.timeIntervalSince1970 - server)
    let difference = max(ahead, behind)
    guard difference > tolerance else { return nil }
    let message =
      ahead > 0
      ? "The PostgreSQL server's clock is \(text(difference)) ahead of this machine's."
      : "This machine's clock is \(text(difference)) ahead of the PostgreSQL server's."
    return DatabaseRisk(
      .clockDifference, message,
      hint: """
        Synchronize both with NTP. Instances whose clocks differ take jobs from each other before a lease has ended, or too late, and count \
        emails against the wrong times of RATE_LIMIT_MAILS; a wrong clock here also ends links at the wrong time.
        """)
  }

  /// Asks the server.
  static func risk(_ session: PostgresSession) throws(StoreOpenError) -> DatabaseRisk? {
    let start = Date()
    let server = try session.value("SELECT extract(epoch FROM clock_timestamp())")
    return Double(server).flatMap { risk(server: $0, start: start, end: Date()) }
  }

  private static func text(_ seconds: Double) -> String { seconds < 120 ? "\(Int(seconds)) seconds" : "\(Int(seconds / 60)) minutes" }
}
