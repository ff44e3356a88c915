/// Times the sides of a comparison in pairs, in random order, so that whatever drifts or disturbs meets both alike.
struct Series {
  /// The interval that is narrow enough, in microseconds: one of two would lie within ±1 only by luck.
  private static let sufficientWidth = 1.0
  private static let seconds = 45
  /// The most pairs, as a multiple of the least.
  private static let longest = 6
  /// Pairs before those that count: at the start, when code and caches are cold and the worker's hands still empty, and on each new connection.
  private static let warmUp = 500
  private static let greeting = 5

  let comparison: Comparison
  /// The least number.
  let pairs: Int
  let seed: UInt64

  /// How many names of each side a series of at least so many pairs may use.
  static func names(for pairs: Int) -> Int { longest * pairs * 102 / 100 + 2 * warmUp }

  /// Goes on by as many pairs as there are at least, until the interval is narrow, or there are too many, or it has taken too long.
  ///
  /// The width and the clock alone decide: neither says whether there is a difference, so to look at them favours no verdict. To go on until a
  /// p-value pleases would.
  /// - Parameter start: the first index that was not used yet.
  func run(on server: Server, from start: Int, progress: Progress) throws -> Finding {
    let connection = Connection(port: server.port, isAwake: Progress.cores > 1)
    let deadline = ContinuousClock.now + .seconds(Self.seconds)
    var generator = SeededGenerator(seed: seed)
    var differences: [Int] = []
    var index = start
    var skipped = Self.warmUp
    while true {
      let goal = differences.count + pairs
      while differences.count < goal {
        if try connection.prepare(for: 2) { skipped = max(skipped, Self.greeting) }
        let difference = try time(index, on: connection, isFirstFirst: Bool.random(using: &generator))
        index += 1
        if skipped > 0 {
          skipped -= 1
        } else {
          differences.append(difference)
          progress.show(comparison.name, differences.count)
        }
      }
      try server.emptyLog()
      let finding = Finding(differences, seed: seed)
      if finding.width <= Self.sufficientWidth || differences.count >= Self.longest * pairs || ContinuousClock.now > deadline { return finding }
    }
  }

  /// Second minus first, in nanoseconds.
  private func time(_ index: Int, on connection: Connection, isFirstFirst: Bool) throws -> Int {
    let first = comparison.first.request(index)
    let second = comparison.second.request(index)
    let earlier = try connection.time(isFirstFirst ? first : second, status: comparison.first.status)
    let later = try connection.time(isFirstFirst ? second : first, status: comparison.first.status)
    return isFirstFirst ? later - earlier : earlier - later
  }
}
