/// Measures whether a reset request slows down later requests while the worker processes it.
///
/// The worker writes and records an email 5 to 35 ms after the response. During this time the measurement sends `GET /health/live` repeatedly,
/// which waits for nothing, and adds up the response times. The service has nothing else to do.
struct AftermathMeasurement {
  static let pairs = 600
  private static let span = 40_000_000
  private static let probe = Array("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
  private static let calibration = 300
  private static let maximumProbes = 900

  let comparison: Comparison

  /// - Parameter start: the first unused index.
  func run(on server: ServerProcess, from start: Int, progress: Progress) throws -> (responses: [Pair], aftermath: [Pair]) {
    // Polling would take a core from the worker, whose work is what this measures.
    let connection = Connection(port: server.port, pollsForResponse: false)
    _ = try connection.prepare(for: Self.calibration)
    let times = try (0..<Self.calibration).map { _ in try connection.time(Self.probe, status: 200) }.sorted()
    let probes = min(Self.maximumProbes, Self.span / max(1, times[times.count / 2]))
    var responses: [Pair] = []
    var aftermath: [Pair] = []
    for index in start..<start + Self.pairs {
      let (first, second) = try comparison.inRandomOrder { requestClass in
        // Start a new connection if the old one cannot take all probes, so that no probe includes the time to connect.
        _ = try connection.prepare(for: Self.maximumProbes + 2)
        _ = try connection.time(Self.probe, status: 200)
        let response = try connection.time(requestClass.request(index), status: requestClass.status)
        let sum = try (0..<probes).reduce(0) { sum, _ in sum + (try connection.time(Self.probe, status: 200)) }
        return (response: response, sum: sum)
      }
      responses.append(Pair(first: first.response, second: second.response))
      aftermath.append(Pair(first: first.sum, second: second.sum))
      progress.show("aftermath", responses.count)
    }
    return (responses, aftermath)
  }
}
