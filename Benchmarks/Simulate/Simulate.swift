import Foundation
import Simulation

/// Runs the simulation for the seeds in its argument: `17`, or `1-1000000`. A single seed prints its trace.
@main struct Simulate {
  static func main() {
    let parts = (CommandLine.arguments.dropFirst().first ?? "1-10000").split(separator: "-").compactMap { UInt64($0) }
    guard let first = parts.first, let last = parts.last, first <= last else {
      print("usage: Simulate [SEED | FIRST-LAST]")
      exit(64)
    }
    if first == last { exit(replay(first) ? 0 : 1) }
    exit(runAll(first...last) ? 0 : 1)
  }

  private static func replay(_ seed: UInt64) -> Bool {
    let result = Simulation.run(seed: seed, isTraced: true)
    for line in result.trace { print(line) }
    for violation in result.violations { print("seed \(seed): \(violation)") }
    return result.violations.isEmpty
  }

  /// Runs the seeds on one thread, and returns whether all passed.
  private static func runAll(_ seeds: ClosedRange<UInt64>) -> Bool {
    let start = Date()
    var failed = 0
    var counts: [String: Int] = [:]
    for seed in seeds {
      let result = Simulation.run(seed: seed)
      counts.merge(result.counts, uniquingKeysWith: +)
      guard !result.violations.isEmpty else { continue }
      failed += 1
      if failed <= 20 { for violation in result.violations.prefix(3) { print("seed \(seed): \(violation)") } }
    }
    let totals = counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
    print("\(seeds.count) seeds, \(failed) failed, in \(Int(Date().timeIntervalSince(start))) s: \(totals)")
    return failed == 0
  }
}
