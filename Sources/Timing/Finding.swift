/// What a series of differences says.
struct Finding {
  enum Verdict: String {
    case none = "no difference found"
    case difference
    case inconclusive
  }

  /// What either test may find by chance in a hundred thousand series without a difference.
  private static let significance = 1e-5
  /// Microseconds.
  private static let tolerance = -1.0...1.0

  let pairs: Int
  /// Microseconds, as the interval.
  let median: Double
  let interval: ClosedRange<Double>
  let signP: Double
  let wilcoxonP: Double

  /// - Parameter differences: in nanoseconds.
  init(_ differences: [Int], seed: UInt64) {
    pairs = differences.count
    median = Statistics.median(differences) / 1000
    let interval = Statistics.medianInterval(differences, seed: seed)
    self.interval = interval.lowerBound / 1000...interval.upperBound / 1000
    signP = Statistics.signTest(differences)
    wilcoxonP = Statistics.wilcoxonTest(differences)
  }

  var width: Double { interval.upperBound - interval.lowerBound }

  var verdict: Verdict {
    let isSignificant = min(signP, wilcoxonP) < Self.significance
    if !isSignificant, Self.tolerance.contains(interval) { return .none }
    return isSignificant && !interval.contains(0) ? .difference : .inconclusive
  }

  /// The verdict, once it is known what became of a difference that was there for sure.
  func verdict(besides control: Finding) -> Verdict { control.verdict == .difference ? verdict : .inconclusive }
}
