import Foundation

/// What is known of paired differences, in nanoseconds, without supposing anything of how they are distributed but that pairs are independent.
enum Statistics {
  /// The sign test: the two-sided p-value of as many differences above and below zero, were both equally likely. Zeros are left out.
  ///
  /// Exact, by the binomial distribution (Conover, Practical Nonparametric Statistics, 3rd ed., section 3.4).
  static func signTest(_ differences: [Int]) -> Double {
    let above = differences.count { $0 > 0 }
    let count = above + differences.count { $0 < 0 }
    let fewer = min(above, count - above)
    guard 2 * fewer < count else { return 1 }
    // The probability of exactly so few, by its logarithm, as it may be too small for a Double; then of each smaller number from the one before.
    var logarithm = -Double(count) * log(2)
    for index in 0..<fewer { logarithm += log(Double(count - index) / Double(index + 1)) }
    var term = 1.0
    var sum = 1.0
    for index in stride(from: fewer, to: 0, by: -1) {
      term *= Double(index) / Double(count - index + 1)
      sum += term
    }
    return min(1, 2 * exp(logarithm) * sum)
  }

  /// The Wilcoxon signed-rank test: the two-sided p-value of the differences, were they symmetric about zero.
  ///
  /// Zeros are left out, equal sizes share their mean rank, and the variance is corrected for them; by the normal approximation without correction
  /// for continuity, which is good from some 20 differences on (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd ed.,
  /// section 3.1; `scipy.stats.wilcoxon(method="asymptotic")` is the same).
  static func wilcoxonTest(_ differences: [Int]) -> Double {
    let sorted = differences.filter { $0 != 0 }.sorted { $0.magnitude < $1.magnitude }
    let count = Double(sorted.count)
    var variance = count * (count + 1) * (2 * count + 1) / 24
    var positiveRanks = 0.0
    var start = 0
    while start < sorted.count {
      let end = sorted[start...].firstIndex { $0.magnitude != sorted[start].magnitude } ?? sorted.count
      let ties = Double(end - start)
      let rank = Double(start + end + 1) / 2
      positiveRanks += rank * Double(sorted[start..<end].count { $0 > 0 })
      variance -= (ties * ties * ties - ties) / 48
      start = end
    }
    guard variance > 0 else { return 1 }
    let score = (positiveRanks - count * (count + 1) / 4) / variance.squareRoot()
    return erfc(abs(score) / 2.0.squareRoot())
  }

  /// The median; 0 of nothing.
  static func median(_ differences: [Int]) -> Double {
    guard !differences.isEmpty else { return 0 }
    let sorted = differences.sorted()
    return Double(sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
  }

  /// The bootstrap percentile interval of the median (Efron and Tibshirani, An Introduction to the Bootstrap, section 13.3): where the medians of
  /// samples lie that are drawn from the differences with replacement, but for half of what `confidence` leaves at either end.
  static func medianInterval(_ differences: [Int], confidence: Double = 0.99, resamples: Int = 2000, seed: UInt64) -> ClosedRange<Double> {
    guard !differences.isEmpty else { return -.infinity ... .infinity }
    let sorted = differences.sorted()
    var generator = SeededGenerator(seed: seed)
    var medians = (0..<resamples).map { _ in resampledMedian(of: sorted, using: &generator) }
    medians.sort()
    let cut = Int((Double(resamples) * (1 - confidence) / 2).rounded(.down))
    return medians[cut]...medians[resamples - 1 - cut]
  }

  /// Draws places in the sorted differences and counts them, which spares sorting what was drawn.
  private static func resampledMedian(of sorted: [Int], using generator: inout SeededGenerator) -> Double {
    let count = sorted.count
    var drawn = [Int32](repeating: 0, count: count)
    for _ in 0..<count { drawn[Int.random(in: 0..<count, using: &generator)] += 1 }
    var place = 0
    var passed = Int(drawn[0])
    func value(at rank: Int) -> Int {
      while passed <= rank {
        place += 1
        passed += Int(drawn[place])
      }
      return sorted[place]
    }
    return Double(value(at: (count - 1) / 2) + value(at: count / 2)) / 2
  }
}
