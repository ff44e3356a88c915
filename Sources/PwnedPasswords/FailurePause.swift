/// Stops requests to a server that has failed several times in a row, so that its outage does not delay every reset.
///
/// Meanwhile one request in ten seconds finds out whether it is back.
struct FailurePause {
  private static let tolerated = 3
  private static let interval = Duration.seconds(10)

  private var failures = 0
  private var nextProbe: ContinuousClock.Instant?

  /// Returns whether a request may be sent now.
  mutating func admits(at now: ContinuousClock.Instant) -> Bool {
    guard failures >= Self.tolerated else { return true }
    if let nextProbe, now < nextProbe { return false }
    nextProbe = now + Self.interval
    return true
  }

  mutating func recordSuccess() { self = FailurePause() }

  mutating func recordFailure(at now: ContinuousClock.Instant) {
    failures += 1
    nextProbe = now + Self.interval
  }
}
