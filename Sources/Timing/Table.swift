import Foundation

/// The rows of the report.
enum Table {
  private static let widths = [30, 7, 10, 18, 10, 10, 21]

  static func printHead() {
    printRow(["comparison", "pairs", "median µs", "99 % interval µs", "sign p", "Wilcoxon p", "verdict"], last: "control: 99 % interval µs")
  }

  /// - Parameter last: what stands behind the verdict.
  static func printFinding(_ name: String, _ finding: Finding, verdict: String, last: String) {
    printRow(
      [
        name, "\(finding.pairs)", String(format: "%+.2f", finding.median), text(finding.interval), text(finding.signP), text(finding.wilcoxonP),
        verdict,
      ], last: last)
  }

  static func text(_ interval: ClosedRange<Double>) -> String { String(format: "%+.2f … %+.2f", interval.lowerBound, interval.upperBound) }

  private static func text(_ probability: Double) -> String {
    probability < 1e-99 ? "< 1e-99" : String(format: probability < 0.001 ? "%.0e" : "%.3f", probability)
  }

  /// At once, for whoever reads along through a pipe.
  static func printLine(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

  private static func printRow(_ cells: [String], last: String) {
    let padded = zip(cells, widths).map { cell, width in cell.padding(toLength: max(width, cell.count), withPad: " ", startingAt: 0) }
    printLine((padded + [last]).joined(separator: "  "))
  }
}
