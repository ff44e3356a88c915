import Synchronization

/// A metric that counts observations by their size.
public final class Histogram: Family {
  private struct Series {
    /// The number of observations in each bucket. The last bucket has those above all bounds.
    var counts: [Int]
    var sum = 0.0

    init(bounds: [Double]) { counts = Array(repeating: 0, count: bounds.count + 1) }
  }

  let description: Description
  let type = "histogram"
  private let bounds: [Double]
  private let series: Mutex<[[String]: Series]>

  init(description: Description, bounds: [Double]) {
    self.description = description
    self.bounds = bounds
    series = Mutex(description.labels.isEmpty ? [[]: Series(bounds: bounds)] : [:])
  }

  /// Adds an observation.
  /// - Parameters:
  ///   - value: The size, in seconds if it is a time.
  ///   - labels: The values of the labels, in the order of their names.
  public func observe(_ value: Double, _ labels: String...) {
    let index = bounds.firstIndex { value <= $0 } ?? bounds.count
    series.withLock { series in
      var one = series[labels] ?? Series(bounds: bounds)
      one.counts[index] += 1
      one.sum += value
      series[labels] = one
    }
  }

  func samples() -> [String] {
    series.withLock { $0 }.sorted { $0.key.lexicographicallyPrecedes($1.key) }.flatMap { labels, one in
      var sum = 0
      let buckets = zip(bounds.map(number) + ["+Inf"], one.counts).map { bound, count in
        sum += count
        return "_bucket\(description.labels(labels, and: "le=\"\(bound)\"")) \(sum)"
      }
      return buckets + ["_sum\(description.labels(labels)) \(one.sum)", "_count\(description.labels(labels)) \(sum)"]
    }
  }
}
