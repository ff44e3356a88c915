import Synchronization

/// A count that only grows.
public final class Counter: Family {
  let description: Description
  let type = "counter"
  private let counts: Mutex<[[String]: Int]>

  init(description: Description, known: [[String]]) {
    self.description = description
    counts = Mutex(Dictionary(uniqueKeysWithValues: known.map { ($0, 0) }))
  }

  /// - Parameter labels: their values; they must be few in all, as each is a time series.
  public func increment(_ labels: String..., by count: Int = 1) { counts.withLock { $0[labels, default: 0] += count } }

  func samples() -> [String] {
    counts.withLock { $0 }.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { "\(description.labels($0.key)) \($0.value)" }
  }
}
