import Foundation

/// The times of one request of each class, in nanoseconds.
struct Pair {
  var first: Int
  var second: Int
}

extension [Pair] {
  /// Writes the CSV file that `judge.py` reads.
  func write(to path: String) throws {
    let lines = ["first,second"] + map { "\($0.first),\($0.second)" }
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: path))
  }

  /// The width of a 99 % interval of the median difference in nanoseconds, from order statistics
  /// (Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2).
  var intervalWidth: Int {
    let differences = map { $0.second - $0.first }.sorted()
    let middle = Double(count) / 2
    let distance = 2.576 * Double(count).squareRoot() / 2
    return differences[Swift.min(count - 1, Int(middle + distance))] - differences[Swift.max(0, Int(middle - distance))]
  }
}
