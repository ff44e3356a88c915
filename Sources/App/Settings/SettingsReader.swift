import Configuration
import Foundation

/// What is wrong with the configuration: for each fault the setting and the remedy, never the value.
struct SettingsError: Error, CustomStringConvertible, Equatable {
  var findings: [Finding]

  init(_ findings: [Finding]) { self.findings = findings }

  init(_ name: SettingName, _ remedy: String, _ kind: Finding.Kind) {
    findings = [Finding(kind, "\(name.rawValue) \(remedy)", setting: name)]
  }

  var faults: [String] { findings.map(\.message) }
  var description: String { findings.map { "configuration: \($0.message)\($0.hint.map { ". \($0)" } ?? "")" }.joined(separator: "\n") }
}

/// A setting as it is in force, for `password-reset config`.
struct EffectiveSetting: Sendable, Equatable {
  /// Nil if there is none; a secret's is hidden.
  var value: String?
  /// `environment`, `file`, `development`, `default`, or the name of the variable that names a secret's file.
  var source: String
}

/// Reads settings strictly and gathers every fault, so that the operator mends them in one go.
///
/// swift-configuration's typed getters take a value that does not parse for one that is absent; so only texts are read from it, and parsed here.
struct SettingsReader {
  private(set) var findings: [Finding] = []
  /// Values that are used, although their form suggests that they are not meant so.
  private(set) var warnings: [Finding] = []
  /// The settings whose value is refused for its form. They count as absent, and get no second finding.
  private var refused: Set<SettingName> = []
  private(set) var effective: [SettingName: EffectiveSetting] = [:]
  /// Whether development's defaults hold.
  let isDevelopment: Bool
  /// The files that hold secrets, as far as they were read, with the setting that names each.
  private(set) var secretFiles: [(name: String, path: String)] = []
  /// Bytes; a device might never end.
  private static let secretLimit = 1 << 16

  private let config: ConfigReader
  private let environment: [String: String]
  private var file = SettingsFile.none

  init(environment: [String: String], dev: Bool = false) {
    self.environment = environment
    isDevelopment = dev
    findings = SettingName.unknown(among: environment).map {
      Finding(.unknownSetting, "\($0) is not a setting", hint: "See docs/configuration.md for those there are, or unset it.")
    }
    let path = environment[SettingName.config.rawValue] ?? ""
    if case .refused(let remedy) = ValueForm(of: path, for: .config) {
      findings.append(Finding(.invalidSetting, "\(SettingName.config.rawValue) \(remedy)", setting: .config))
    } else if !path.isEmpty {
      file = SettingsFile(path: path)
    }
    findings += file.findings
    // The environment goes before the file.
    config = ConfigReader(providers: [
      EnvironmentVariablesProvider(environmentVariables: environment.filter { !$0.value.isEmpty }),
      EnvironmentVariablesProvider(environmentVariables: file.texts),
    ])
    effective[.config] = EffectiveSetting(value: path.isEmpty ? nil : path, source: path.isEmpty ? "default" : "environment")
    let holdsSecrets = SettingName.allCases.contains { $0.isSecret && file.texts[$0.rawValue] != nil }
    if holdsSecrets { secretFiles = [(SettingName.config.rawValue, path)] }
  }

  mutating func fault(_ name: SettingName, _ remedy: String, _ kind: Finding.Kind = .invalidSetting) {
    guard !refused.contains(name) else { return }
    findings.append(Finding(kind, "\(name.rawValue) \(remedy)", setting: name))
  }

  /// Throws if anything read so far was at fault.
  func check() throws(SettingsError) {
    if !findings.isEmpty { throw SettingsError(findings) }
  }

  /// The text of a setting, or of its default; an empty one counts as absent.
  mutating func text(_ name: SettingName) -> String? { setText(name) ?? defaultText(name, nil) }

  /// The text of a setting that has a default.
  mutating func defaultText(_ name: SettingName) -> String { parsed(name, remedy: "") { $0 } }

  /// The setting as `parse` reads it; the default if it is absent, and, with a fault, if it does not parse.
  /// - Parameter fallback: the default where it depends on what is around it.
  mutating func parsed<Value>(_ name: SettingName, default fallback: String? = nil, remedy: String, _ parse: (String) -> Value?) -> Value {
    if let text = setText(name) {
      if let value = parse(text) { return value }
      fault(name, remedy)
    }
    guard let text = defaultText(name, fallback), let value = parse(text) else {
      preconditionFailure("the default of \(name.rawValue) does not parse")
    }
    return value
  }

  /// The setting as `parse` reads it; nil if it is absent, and, with a fault, if it does not parse.
  mutating func optional<Value>(_ name: SettingName, remedy: String, _ parse: (String) -> Value?) -> Value? {
    guard let text = text(name) else { return nil }
    if let value = parse(text) { return value }
    fault(name, remedy)
    return nil
  }

  mutating func integer(_ name: SettingName, default fallback: Int? = nil, in range: ClosedRange<Int>) -> Int {
    parsed(name, default: fallback.map(String.init), remedy: "must be a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
      Int(text).flatMap { range.contains($0) ? $0 : nil }
    }
  }

  mutating func boolean(_ name: SettingName) -> Bool {
    parsed(name, remedy: "must be true or false") { text in
      switch text.lowercased() {
      case "true", "1", "yes", "on": true
      case "false", "0", "no", "off": false
      default: nil
      }
    }
  }

  /// One of the values of an enumeration.
  mutating func choice<Value: CaseIterable & RawRepresentable<String>>(_ name: SettingName, default fallback: Value? = nil) -> Value {
    parsed(name, default: fallback?.rawValue, remedy: choices(of: Value.self), Value.init)
  }

  /// One of the values of an enumeration; nil if it is absent or at fault.
  mutating func optionalChoice<Value: CaseIterable & RawRepresentable<String>>(_ name: SettingName) -> Value? {
    optional(name, remedy: choices(of: Value.self), Value.init)
  }

  private func choices<Value: CaseIterable & RawRepresentable<String>>(of type: Value.Type) -> String {
    "must be one of \(type.allCases.map(\.rawValue).joined(separator: ", "))"
  }

  /// The path in a setting, of a file that can be read.
  mutating func readableFile(_ name: SettingName) -> String? {
    guard let path = text(name) else { return nil }
    if !FileManager.default.isReadableFile(atPath: path) {
      fault(name, "names a file that cannot be read; check the path and its permissions", .unreadableFile)
    }
    return path
  }

  /// Whether the setting is there, however wrong.
  func isSet(_ name: SettingName) -> Bool { value(name.rawValue) != nil || value(name.file) != nil }

  /// Notes a value that was found elsewhere.
  mutating func note(_ name: SettingName, _ value: String?, from source: String) {
    effective[name] = EffectiveSetting(value: name.isSecret ? value.map { _ in "********" } : value, source: source)
  }

  /// OpenSSL's own setting, heeded though not ours.
  mutating func certificateAuthoritiesFile() -> String? {
    guard let path = environment["SSL_CERT_FILE"], !path.isEmpty else { return nil }
    if !FileManager.default.isReadableFile(atPath: path) {
      findings.append(Finding(.unreadableFile, "SSL_CERT_FILE names a file that cannot be read; check the path and its permissions"))
    }
    return path
  }

  /// What the environment or the file sets.
  private mutating func setText(_ name: SettingName) -> String? {
    if name.isSecret, value(name.file) != nil { return secret(name) }
    guard let text = value(name.rawValue) else { return nil }
    return accept(text, for: name, from: source(name.rawValue))
  }

  /// Returns `text`, or nil with a finding if its form is refused.
  /// - Parameter path: the file that holds the text, for a secret in a file.
  private mutating func accept(_ text: String, for name: SettingName, from source: String, path: String? = nil) -> String? {
    let subject = path == nil ? name.rawValue : "\(name.file) names a file whose content"
    let place = path.map { " The file is \($0)." } ?? ""
    switch ValueForm(of: text, for: name) {
    case .plain: break
    case .refused(let remedy):
      let hint = path.map { "Write the value alone, on one line, into \($0)." }
      refuse(name, Finding(.invalidSetting, "\(subject) \(remedy)", hint: hint, setting: name))
      return nil
    case .doubtful(let reason):
      let hint = "Remove it, unless the same value has it elsewhere, as in the Django site or the mail server.\(place)"
      warnings.append(Finding(.doubtfulValue, "\(subject) \(reason)", hint: hint, setting: name))
    }
    note(name, text, from: source)
    return text
  }

  private mutating func refuse(_ name: SettingName, _ finding: Finding) {
    guard refused.insert(name).inserted else { return }
    findings.append(finding)
  }

  private mutating func secret(_ name: SettingName) -> String? {
    guard let path = value(name.file) else { return nil }
    // The environment's own value goes before a file that the configuration file names, and the other way round.
    if value(name.rawValue) != nil, source(name.rawValue) == source(name.file) {
      fault(name, "and \(name.file) are both set; unset one of them", .conflictingSettings)
      return nil
    }
    if let text = value(name.rawValue), source(name.rawValue) == "environment" {
      return accept(text, for: name, from: "environment")
    }
    if case .refused(let remedy) = ValueForm(of: path, for: .config) {
      refuse(name, Finding(.invalidSetting, "\(name.file) \(remedy)", setting: name))
      return nil
    }
    // Not only of a regular file: a shell's `<(…)` is a pipe. Why it cannot be read would name the path, which may be a secret put in the wrong place.
    guard let data = try? FileHandle(forReadingFrom: URL(fileURLWithPath: path)).read(upToCount: Self.secretLimit) ?? Data(),
      let text = String(data: data, encoding: .utf8)
    else {
      let message = "\(name.file) names a file that cannot be read; check the path and its permissions"
      findings.append(Finding(.unreadableFile, message, setting: name))
      return nil
    }
    secretFiles.append((name.file, path))
    guard data.count < Self.secretLimit else {
      let message = "\(name.file) names a file that is too long to hold the value alone"
      refuse(name, Finding(.invalidSetting, message, hint: "Check what is in \(path).", setting: name))
      return nil
    }
    // Editors and `echo` end the file with a line end, which is never part of the value.
    let secret = text.trimmingCharacters(in: .newlines)
    guard !secret.isEmpty else { return nil }
    return accept(secret, for: name, from: name.file, path: path)
  }

  private mutating func defaultText(_ name: SettingName, _ fallback: String?) -> String? {
    if isDevelopment, let text = name.developmentDefault {
      note(name, text, from: "development")
      return text
    }
    let text = fallback ?? name.usual
    note(name, text, from: "default")
    return text
  }

  private func source(_ variable: String) -> String { environment[variable]?.isEmpty == false ? "environment" : "file" }

  private func value(_ name: String) -> String? {
    let text = config.string(forKey: ConfigKey(name.lowercased().split(separator: "_").map(String.init)))
    return text?.isEmpty == true ? nil : text
  }
}
