import Synchronization

/// A metric that only grows, with a value for each combination of label values.
public final class Counter: Family {
  let description: Description
  let type = "counter"
  private let counts: Mutex<[[String]: Int]>

  init(description: Description, known: [[String]]) {
    self.description = description
    counts = Mutex(Dictionary(uniqueKeysWithValues: known.map { ($0, 0) }))
  }

  /// Adds to the value for the given labels.
  /// - Parameter labels: The values of the labels, in the order of their names. Each combination is a time series, so
  ///   there must be few.
  public func increment(_ labels: String..., by count: Int = 1) { counts.withLock { $0[labels, default: 0] += count } }

  func samples() -> [String] {
    counts.withLock { $0 }.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { "\(description.labels($0.key)) \($0.value)" }
  }
}
