import Testing

@testable import Timing

/// The verdicts of `make timing`. The expected values are those of SciPy 1.17: `binomtest`, and `wilcoxon(method="asymptotic", correction=False)`.
struct StatisticsTests {
  struct Case: CustomTestStringConvertible {
    let testDescription: String
    let differences: [Int]
    let sign: Double
    let wilcoxon: Double
    let median: Double
  }

  @Test(arguments: [
    Case(
      testDescription: "ties and zeros", differences: [3, -1, 4, 1, -5, 9, 2, 6, -5, 3, 5, 8, -9, 7, 9, 3, 2, -3, 8, 4, 0, 0],
      sign: 0.04138946533203125, wilcoxon: 0.04340012685335373, median: 3),
    Case(
      testDescription: "next to no shift", differences: (0..<1000).map { $0 * 7919 % 1009 - 480 }, sign: 0.11362028582826096,
      wilcoxon: 0.008877490039699327, median: 25.5),
    Case(
      testDescription: "a shift", differences: (0..<101).map { $0 * 37 % 101 - 30 }, sign: 7.85013964559367e-05, wilcoxon: 3.0976549287952025e-08,
      median: 20),
    Case(testDescription: "zeros alone", differences: [0, 0], sign: 1, wilcoxon: 1, median: 0),
    Case(testDescription: "nothing", differences: [], sign: 1, wilcoxon: 1, median: 0),
  ])
  func agreesWithSciPy(_ expected: Case) {
    #expect(abs(Statistics.signTest(expected.differences) / expected.sign - 1) < 1e-9)
    #expect(abs(Statistics.wilcoxonTest(expected.differences) / expected.wilcoxon - 1) < 1e-9)
    #expect(Statistics.median(expected.differences) == expected.median)
  }

  @Test func survivesProbabilitiesTooSmallForADouble() {
    let differences = [Int](repeating: 1, count: 60_000)
    #expect(Statistics.signTest(differences) == 0)
    #expect(Statistics.wilcoxonTest(differences) == 0)
  }

  /// Of fifty 99 % intervals of noise about 3, no more than a few may miss it.
  @Test func coversTheMedian() {
    var generator = SeededGenerator(seed: 1)
    let misses = (0..<50).count { round in
      let differences = (0..<200).map { _ in 3 + Int.random(in: -1000...1000, using: &generator) + Int.random(in: -1000...1000, using: &generator) }
      return !Statistics.medianInterval(differences, resamples: 200, seed: UInt64(round)).contains(3)
    }
    #expect(misses <= 3)
  }

  @Test func isTheSameForTheSameSeed() {
    let differences = spread(101, about: 0)
    #expect(Statistics.medianInterval(differences, seed: 7) == Statistics.medianInterval(differences, seed: 7))
    #expect(Statistics.medianInterval(differences, resamples: 50, seed: 7) != Statistics.medianInterval(differences, resamples: 50, seed: 8))
  }

  @Test(arguments: [(0, Finding.Verdict.none), (2000, .difference), (-2000, .difference)])
  func tellsTwoMicrosecondsFromNone(shift: Int, verdict: Finding.Verdict) { #expect(Finding(spread(300, about: shift), seed: 1).verdict == verdict) }

  @Test func isInconclusiveWithoutAControl() {
    let none = Finding(spread(300, about: 0), seed: 1)
    let some = Finding(spread(300, about: 2000), seed: 1)
    #expect(none.verdict(besides: none) == .inconclusive)
    #expect(none.verdict(besides: some) == .none)
    #expect(Finding(spread(10, about: 0), seed: 1).verdict == .inconclusive)
  }

  /// Requests of one length, and so replies of one length.
  @Test func sendsRequestsOfOneLength() {
    for comparison in Comparison.all {
      let lengths = Set([0, 1999, 2000, 123_456].flatMap { [comparison.first.request($0).count, comparison.second.request($0).count] })
      #expect(lengths.count == 1)
    }
  }

  /// In nanoseconds, some 3 µs to either side.
  private func spread(_ count: Int, about median: Int) -> [Int] {
    var generator = SeededGenerator(seed: 5)
    return (0..<count).map { _ in median + Int.random(in: -3000...3000, using: &generator) + Int.random(in: -3000...3000, using: &generator) }
  }
}
