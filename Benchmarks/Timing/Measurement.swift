/// Measures a comparison in pairs of requests.
struct Measurement {
  /// The interval of the median is narrow enough when it has this width, in nanoseconds: an interval of 2 µs lies within ±1 µs only by luck.
  private static let sufficientWidth = 1000
  private static let seconds = 45
  /// The maximum number of pairs, as a multiple of the minimum.
  private static let longest = 6
  /// The number of pairs to discard at the start, while code and caches are cold and the worker still claims jobs.
  private static let warmUpPairs = 500
  /// The number of pairs to discard on each new connection.
  private static let connectionWarmUpPairs = 5

  let comparison: Comparison
  /// The minimum number of pairs.
  let pairs: Int

  /// Returns how many names per class a measurement of at least `pairs` pairs may use.
  static func names(for pairs: Int) -> Int { longest * pairs * 102 / 100 + 2 * warmUpPairs }

  /// Repeats blocks of `pairs` pairs until the interval is narrow, there are enough pairs, or the time is up.
  ///
  /// Only the interval's width and the clock decide when to stop. Neither shows whether there is a difference, so this favors no verdict.
  /// Stopping at a desired p-value would.
  /// - Parameter start: the first unused index.
  func run(on server: ServerProcess, from start: Int, progress: Progress) throws -> [Pair] {
    let connection = Connection(port: server.port, pollsForResponse: Progress.cores > 1)
    let deadline = ContinuousClock.now + .seconds(Self.seconds)
    var result: [Pair] = []
    var index = start
    var toDiscard = Self.warmUpPairs
    while true {
      let goal = result.count + pairs
      while result.count < goal {
        if try connection.prepare(for: 2) { toDiscard = max(toDiscard, Self.connectionWarmUpPairs) }
        let pair = try time(index, on: connection)
        index += 1
        if toDiscard > 0 {
          toDiscard -= 1
        } else {
          result.append(pair)
          progress.show(comparison.name, result.count)
        }
      }
      try server.emptyLog()
      if result.intervalWidth <= Self.sufficientWidth || result.count >= Self.longest * pairs || ContinuousClock.now > deadline { return result }
    }
  }

  private func time(_ index: Int, on connection: Connection) throws -> Pair {
    guard comparison.first.request(index).count == comparison.second.request(index).count else {
      throw TimingError(description: "the requests of \(comparison.name) have different lengths, so their times cannot be compared")
    }
    let (first, second) = try comparison.inRandomOrder { try connection.time($0.request(index), status: $0.status) }
    return Pair(first: first, second: second)
  }
}
