import Synchronization

/// Holds the metrics and writes them as text for Prometheus.
///
/// The format is version 0.0.4 of https://prometheus.io/docs/instrumenting/exposition_formats/.
public final class Registry: Sendable {
  private let families = Mutex<[any Family]>([])

  /// Creates a registry without metrics.
  public init() {}

  /// Adds a counter.
  /// - Parameters:
  ///   - name: The name, which ends in `_total`.
  ///   - labels: The names of the labels.
  ///   - known: Label values that exist from the start with the count 0, because Prometheus cannot see the first
  ///     increment of a new series.
  public func counter(_ name: String, _ help: String, labels: [String] = [], known: [[String]] = []) -> Counter {
    let counter = Counter(description: Description(name: name, help: help, labels: labels), known: labels.isEmpty ? [[]] : known)
    add(counter)
    return counter
  }

  /// Adds a histogram, whose buckets end at `bounds`.
  public func histogram(_ name: String, _ help: String, labels: [String] = [], bounds: [Double]) -> Histogram {
    let histogram = Histogram(description: Description(name: name, help: help, labels: labels), bounds: bounds)
    add(histogram)
    return histogram
  }

  /// Adds a gauge, whose value is read for each scrape.
  /// - Parameter read: Returns the value, or `nil` to omit it.
  public func gauge(_ name: String, _ help: String, read: @escaping @Sendable () async -> Double?) {
    gauge(name, help, labels: []) { await read().map { [([], $0)] } ?? [] }
  }

  /// Adds a gauge with labels, whose values are read for each scrape.
  /// - Parameters:
  ///   - kind: `counter` for a value that only grows but is counted elsewhere.
  ///   - read: Returns the label values and the value of each series.
  public func gauge(
    _ name: String, _ help: String, labels: [String], kind: GaugeKind = .gauge, read: @escaping @Sendable () async -> [([String], Double)]
  ) {
    add(Gauge(description: Description(name: name, help: help, labels: labels), kind: kind, read: read))
  }

  /// Returns the current values of all metrics as text.
  public func text() async -> String {
    var text = ""
    for family in families.withLock(\.self) {
      let samples = await family.samples()
      guard !samples.isEmpty else { continue }
      let name = family.description.name
      text += "# HELP \(name) \(family.description.help)\n# TYPE \(name) \(family.type)\n"
      for sample in samples { text += "\(name)\(sample)\n" }
    }
    return text
  }

  private func add(_ family: any Family) { families.withLock { $0.append(family) } }
}

/// The type that Prometheus sees for a gauge.
public enum GaugeKind: String, Sendable {
  case gauge, counter
}

/// The name, the help text and the label names of a metric.
struct Description: Sendable {
  let name: String
  let help: String
  let labels: [String]

  /// Returns the labels as text, such as `{route="none",status="404"}`, or an empty text if there are none.
  func labels(_ values: [String], and more: String? = nil) -> String {
    let pairs = zip(labels, values).map { "\($0)=\"\(Self.escaped($1))\"" } + [more].compactMap(\.self)
    return pairs.isEmpty ? "" : "{\(pairs.joined(separator: ","))}"
  }

  private static func escaped(_ value: String) -> String {
    var text = ""
    for character in value.unicodeScalars {
      switch character {
      case "\\": text += #"\\"#
      case "\"": text += #"\""#
      case "\n": text += #"\n"#
      default: text.unicodeScalars.append(character)
      }
    }
    return text
  }
}

/// A metric with all its time series.
protocol Family: Sendable {
  var description: Description { get }
  var type: String { get }

  /// Returns a line for each sample, without the name at its start.
  func samples() async -> [String]
}

/// A metric whose values are read for each scrape.
struct Gauge: Family {
  let description: Description
  let kind: GaugeKind
  let read: @Sendable () async -> [([String], Double)]

  var type: String { kind.rawValue }

  func samples() async -> [String] { await read().map { "\(description.labels($0)) \(number($1))" } }
}

/// Returns the number as Prometheus writes it: whole numbers without a fraction.
func number(_ value: Double) -> String { value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)" }
