import Synchronization

/// What is measured, and its text for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4).
public final class Registry: Sendable {
  private let families = Mutex<[any Family]>([])

  public init() {}

  /// A count that only grows; its name ends in `_total`.
  /// - Parameters:
  ///   - labels: their names; each increment gives their values, in this order.
  ///   - known: values that are sure to come: they are there at 0 from the start, as Prometheus cannot see an increment from nothing.
  public func counter(_ name: String, _ help: String, labels: [String] = [], known: [[String]] = []) -> Counter {
    let counter = Counter(description: Description(name: name, help: help, labels: labels), known: labels.isEmpty ? [[]] : known)
    add(counter)
    return counter
  }

  /// How many observations lie below each of `bounds`, and their sum.
  public func histogram(_ name: String, _ help: String, labels: [String] = [], bounds: [Double]) -> Histogram {
    let histogram = Histogram(description: Description(name: name, help: help, labels: labels), bounds: bounds)
    add(histogram)
    return histogram
  }

  /// A value that is read when it is asked for.
  /// - Parameter read: nil if it cannot be read now: then it is left out.
  public func gauge(_ name: String, _ help: String, read: @escaping @Sendable () async -> Double?) {
    gauge(name, help, labels: []) { await read().map { [([], $0)] } ?? [] }
  }

  /// As the gauge above, a value for each combination of `labels`.
  /// - Parameter kind: `counter` for what only grows, though it is counted elsewhere.
  public func gauge(
    _ name: String, _ help: String, labels: [String], kind: GaugeKind = .gauge, read: @escaping @Sendable () async -> [([String], Double)]
  ) {
    add(Gauge(description: Description(name: name, help: help, labels: labels), kind: kind, read: read))
  }

  /// All of it.
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

/// What a gauge is to Prometheus.
public enum GaugeKind: String, Sendable {
  case gauge, counter
}

struct Description: Sendable {
  let name: String
  let help: String
  let labels: [String]

  /// `{route="none",status="404"}`, or nothing.
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

protocol Family: Sendable {
  var description: Description { get }
  var type: String { get }

  /// What follows the name in each line.
  func samples() async -> [String]
}

struct Gauge: Family {
  let description: Description
  let kind: GaugeKind
  let read: @Sendable () async -> [([String], Double)]

  var type: String { kind.rawValue }

  func samples() async -> [String] { await read().map { "\(description.labels($0)) \(number($1))" } }
}

/// As Prometheus writes numbers.
func number(_ value: Double) -> String { value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)" }
