/// Looks for what a request leaves behind: while the worker deals with it, other requests may take longer.
///
/// A mail is written and recorded between 5 and some 35 milliseconds after the reply. For so long `GET /health/live`, which waits for nothing, is
/// asked for back to back, and the sum of the times is the measure. The worker is at work, and each request meets a service that has nothing else
/// to do.
struct Afterwards {
  static let pairs = 600
  private static let span = 40_000_000
  private static let probe = Array("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
  private static let calibration = 300
  private static let mostProbes = 900

  let comparison: Comparison
  let seed: UInt64

  /// - Parameter start: the first index that was not used yet.
  func run(on server: Server, from start: Int, progress: Progress) throws -> (reply: Finding, afterwards: Finding, probes: Int) {
    // Whoever asks from elsewhere takes no core from the service.
    let connection = Connection(port: server.port, isAwake: false)
    _ = try connection.prepare(for: Self.calibration)
    let times = try (0..<Self.calibration).map { _ in try connection.time(Self.probe, status: 200) }
    let probes = min(Self.mostProbes, Self.span / max(1, Int(Statistics.median(times))))
    var generator = SeededGenerator(seed: seed)
    var replies: [Int] = []
    var sums: [Int] = []
    for index in start..<start + Self.pairs {
      let isFirstFirst = Bool.random(using: &generator)
      let earlier = try time(isFirstFirst ? comparison.first : comparison.second, index, probes, on: connection)
      let later = try time(isFirstFirst ? comparison.second : comparison.first, index, probes, on: connection)
      replies.append(isFirstFirst ? later.reply - earlier.reply : earlier.reply - later.reply)
      sums.append(isFirstFirst ? later.sum - earlier.sum : earlier.sum - later.sum)
      progress.show("afterwards", sums.count)
    }
    return (Finding(replies, seed: seed), Finding(sums, seed: seed), probes)
  }

  private func time(_ side: Side, _ index: Int, _ probes: Int, on connection: Connection) throws -> (reply: Int, sum: Int) {
    // Each on a connection of its own, as it may take as many requests as a connection has.
    _ = try connection.prepare(for: Self.mostProbes + 2)
    _ = try connection.time(Self.probe, status: 200)
    let reply = try connection.time(side.request(index), status: side.status)
    var sum = 0
    for _ in 0..<probes { sum += try connection.time(Self.probe, status: 200) }
    return (reply, sum)
  }
}
