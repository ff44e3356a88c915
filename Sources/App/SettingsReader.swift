import Configuration
import Foundation

/// What is wrong with the configuration: for each fault the setting and the remedy, never the value.
struct SettingsError: Error, CustomStringConvertible, Equatable {
  var faults: [String]

  var description: String { faults.map { "configuration: \($0)" }.joined(separator: "\n") }
}

/// Reads settings strictly and gathers every fault, so that the operator mends them in one go.
///
/// swift-configuration's typed getters take a value that does not parse for one that is absent; so only texts are read from it, and parsed here.
struct SettingsReader {
  private(set) var faults: [String] = []
  private let config: ConfigReader

  init(environment: [String: String]) {
    config = ConfigReader(provider: EnvironmentVariablesProvider(environmentVariables: environment))
    faults = SettingName.unknown(among: environment.keys).map { "\($0) is not a setting; see docs/configuration.md for those there are, or unset it" }
  }

  mutating func fault(_ name: SettingName, _ remedy: String) { faults.append("\(name.rawValue) \(remedy)") }

  /// Throws if anything read so far was at fault.
  func check() throws(SettingsError) {
    if !faults.isEmpty { throw SettingsError(faults: faults) }
  }

  /// The text of a setting; an empty one counts as absent.
  mutating func text(_ name: SettingName) -> String? {
    let direct = value(name.rawValue)
    guard name.isSecret, let path = value(name.rawValue + "_FILE") else { return direct }
    guard direct == nil else {
      fault(name, "and \(name.rawValue)_FILE are both set; unset one of them")
      return nil
    }
    guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8) else {
      faults.append("\(name.rawValue)_FILE names a file that cannot be read; check the path and its permissions")
      return nil
    }
    let secret = text.trimmingCharacters(in: .newlines)
    return secret.isEmpty ? nil : secret
  }

  /// The setting as `parse` reads it; `fallback` if it is absent, and, with a fault, if it does not parse.
  mutating func parsed<Value>(_ name: SettingName, default fallback: Value, remedy: String, _ parse: (String) -> Value?) -> Value {
    guard let text = text(name) else { return fallback }
    guard let value = parse(text) else {
      fault(name, remedy)
      return fallback
    }
    return value
  }

  mutating func integer(_ name: SettingName, default fallback: Int, in range: ClosedRange<Int>) -> Int {
    parsed(name, default: fallback, remedy: "must be a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
      Int(text).flatMap { range.contains($0) ? $0 : nil }
    }
  }

  mutating func boolean(_ name: SettingName, default fallback: Bool = false) -> Bool {
    parsed(name, default: fallback, remedy: "must be true or false") { text in
      switch text.lowercased() {
      case "true", "1", "yes", "on": true
      case "false", "0", "no", "off": false
      default: nil
      }
    }
  }

  /// One of the values of an enumeration.
  mutating func choice<Value: CaseIterable & RawRepresentable<String>>(_ name: SettingName, default fallback: Value?) -> Value? {
    let choices = Value.allCases.map(\.rawValue).joined(separator: ", ")
    return parsed(name, default: fallback, remedy: "must be one of \(choices)") { text -> Value?? in Value(rawValue: text).map { .some($0) } }
  }

  /// Whether the setting is there, however wrong.
  func isSet(_ name: SettingName) -> Bool { value(name.rawValue) != nil || value(name.rawValue + "_FILE") != nil }

  /// OpenSSL's own setting, heeded though not ours.
  mutating func certificateAuthoritiesFile() -> String? {
    guard let path = value("SSL_CERT_FILE") else { return nil }
    if !FileManager.default.isReadableFile(atPath: path) {
      faults.append("SSL_CERT_FILE names a file that cannot be read; check the path and its permissions")
    }
    return path
  }

  private func value(_ name: String) -> String? {
    let text = config.string(forKey: ConfigKey(name.lowercased().split(separator: "_").map(String.init)))
    return text?.isEmpty == true ? nil : text
  }
}
