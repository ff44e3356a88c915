import Foundation

/// Reads settings from the environment and the settings file.
///
/// It collects all errors, so that the operator can fix them at once. A value that cannot be parsed is an error and does
/// not count as absent, unlike in most configuration libraries. Two groups may read the same setting; its errors are
/// reported once.
struct SettingsReader {
  private(set) var findings: [Finding]
  /// Warnings about values that are used but look wrong.
  private(set) var warnings: [Finding] = []
  private(set) var effective: [SettingName: EffectiveSetting] = [:]
  /// The files that contain secrets, each with the variable that names it.
  private(set) var secretFiles: [(name: String, path: String)] = []
  /// Whether the development defaults apply.
  let isDevelopment: Bool
  /// Whether a secret key that is generated for development is stored.
  let storesKey: Bool

  private var environment: [String: String]
  private let file: SettingsFile
  /// Development defaults that are known only at runtime.
  private var developmentDefaults: [SettingName: String] = [:]
  /// The settings whose form is wrong. They count as absent and get no second finding.
  private var malformed: Set<SettingName> = []
  /// Where the settings that have a value, valid or not, come from.
  private(set) var sources: [SettingName: String] = [:]

  init(environment: [String: String], dev: Bool = false, storesKey: Bool = true) {
    self.environment = environment
    (isDevelopment, self.storesKey) = (dev, storesKey)
    findings = SettingName.unknownVariables(in: environment).map {
      Finding(.unknownSetting, "\($0) is not a setting.", hint: "Correct the name (see docs/configuration.md), or unset the variable.")
    }
    let path = environment[SettingName.config.rawValue] ?? ""
    var file = SettingsFile.empty
    if case .refused(let message) = ValueForm(of: path, for: .config) {
      findings.append(Finding(.invalidSetting, "\(SettingName.config.rawValue) \(message)", setting: .config))
    } else if !path.isEmpty {
      file = SettingsFile(path: path)
    }
    self.file = file
    findings += file.findings
    effective[.config] = EffectiveSetting(value: path.isEmpty ? nil : path, source: path.isEmpty ? "default" : "environment")
    let hasSecret = SettingName.allCases.contains { name in file.values[name.rawValue].map { name.shown($0) != $0 } ?? false }
    if hasSecret { secretFiles = [(SettingName.config.rawValue, path)] }
    ignoreServices()
    warnOfNames()
  }

  /// Removes ports that Kubernetes set to the address of a service, so that the settings file or the default applies.
  private mutating func ignoreServices() {
    for name in SettingName.allCases where name.isPort && SettingName.isAddressOfService(environment[name.rawValue] ?? "") {
      environment[name.rawValue] = nil
      let message = "\(name.rawValue) in the environment is ignored: it is the address of a Kubernetes service, and not a port."
      let hint = "Set `enableServiceLinks: false` in the pod, or set the port in the settings file."
      warnings.append(Finding(.ignoredPort, message, hint: hint))
    }
  }

  private mutating func warnOfNames() {
    let ofDjango = SettingName.ofDjango.filter { environment[$0]?.isEmpty == false }.sorted()
    if !ofDjango.isEmpty {
      let message = "The service ignores these settings of the Django site: \(ofDjango.joined(separator: ", "))."
      warnings.append(Finding(.settingOfDjango, message, hint: "docs/configuration.md lists the settings that the service uses."))
    }
    let reported = SettingName.unknownVariables(in: environment)
    for (variable, setting) in SettingName.similarNames(in: environment) where !reported.contains(variable) {
      let message = "\(variable) is not a setting, and has no effect."
      warnings.append(Finding(.similarName, message, hint: "If it should be \(setting), correct the name."))
    }
  }

  /// Throws if there is an error in what was read so far.
  func throwErrors() throws(SettingsError) {
    if !findings.isEmpty { throw SettingsError(findings) }
  }

  /// Throws all errors, with the warnings and every setting, if there is an error in what was read.
  func throwReport() throws(SettingsError) {
    guard !findings.isEmpty else { return }
    var shown = effective
    for finding in findings {
      guard let name = finding.setting else { continue }
      shown[name] = EffectiveSetting(value: nil, source: sources[name] ?? "default", error: shown[name]?.error ?? finding.message)
    }
    var error = SettingsError(findings)
    (error.warnings, error.effective) = (warnings, shown)
    throw error
  }

  /// Adds the findings of another part of the configuration.
  mutating func add(_ error: SettingsError) { for finding in error.findings { add(finding) } }

  /// - Parameter message: The rest of a sentence that begins with the name of the setting.
  mutating func addError(_ name: SettingName, _ message: String, kind: Finding.Kind = .invalidSetting, hint: String? = nil) {
    guard !malformed.contains(name) else { return }
    add(Finding(kind, "\(name.rawValue) \(message)", hint: hint, setting: name))
  }

  func hasError(_ name: SettingName) -> Bool { findings.contains { $0.setting == name } }

  /// Whether a value is set, valid or not.
  func isSet(_ name: SettingName) -> Bool { variable(name.rawValue) != nil || variable(name.fileVariable) != nil }

  mutating func setDevelopmentDefault(_ name: SettingName, _ value: String) { developmentDefaults[name] = value }

  /// Returns the text of a setting that has a default value.
  mutating func string(_ name: SettingName) -> String { value(name, message: "") { $0 } }

  /// Returns the text of a setting, or `nil` if it is not set or empty.
  mutating func optionalString(_ name: SettingName) -> String? { setText(name) ?? defaultText(name) }

  /// Returns the parsed value of a setting. Adds an error and returns the default value if it cannot be parsed.
  /// - Parameters:
  ///   - defaultValue: The default value if it depends on other settings.
  ///   - message: The rest of a sentence that begins with the name of the setting and says what the value must be.
  mutating func value<Value>(
    _ name: SettingName, default defaultValue: String? = nil, message: String, hint: String? = nil, _ parse: (String) -> Value?
  ) -> Value {
    value(name, default: defaultValue) { text throws(Invalid) in
      guard let value = parse(text) else { throw Invalid(message, hint: hint) }
      return value
    }
  }

  /// Why a text cannot be the value of a setting.
  struct Invalid: Error {
    /// The rest of a sentence that begins with the name of the setting.
    var message: String
    var hint: String?

    init(_ message: String, hint: String? = nil) { (self.message, self.hint) = (message, hint) }
  }

  /// Returns the parsed value of a setting, whose errors differ. Adds an error and returns the default value if it cannot be parsed.
  mutating func value<Value>(
    _ name: SettingName, default defaultValue: String? = nil, _ parse: (String) throws(Invalid) -> Value
  ) -> Value {
    var error = Invalid("")
    func parsed(_ text: String) -> Value? {
      do {
        return try parse(text)
      } catch let invalid {
        error = invalid
        return nil
      }
    }
    if let text = setText(name) {
      if let value = parsed(text) { return value }
      addError(name, error.message, hint: error.hint)
    }
    guard let text = defaultText(name, defaultValue), let value = parsed(text) else {
      preconditionFailure("the default value of \(name.rawValue) cannot be parsed")
    }
    return value
  }

  /// Returns the parsed value of a setting, or `nil` if it is not set. Adds an error if it cannot be parsed.
  mutating func optionalValue<Value>(_ name: SettingName, message: String, hint: String? = nil, _ parse: (String) -> Value?) -> Value? {
    guard let text = optionalString(name) else { return nil }
    if let value = parse(text) { return value }
    addError(name, message, hint: hint)
    return nil
  }

  mutating func integer(_ name: SettingName, default defaultValue: Int? = nil, in range: ClosedRange<Int>) -> Int {
    let message = "must be a whole number between \(range.lowerBound) and \(range.upperBound)."
    return value(name, default: defaultValue.map(String.init), message: message) { text in
      Int(text).flatMap { range.contains($0) ? $0 : nil }
    }
  }

  mutating func boolean(_ name: SettingName) -> Bool {
    value(name, message: "must be true or false.") { text in
      switch text.lowercased() {
      case "true", "1", "yes", "on": true
      case "false", "0", "no", "off": false
      default: nil
      }
    }
  }

  /// Returns the case of an enumeration that the setting names.
  mutating func choice<Value: CaseIterable & RawRepresentable<String>>(_ name: SettingName, default defaultValue: Value? = nil) -> Value {
    value(name, default: defaultValue?.rawValue, message: Self.choices(of: Value.self)) { Self.parseChoice($0) }
  }

  /// Returns the case of an enumeration that the setting names, or `nil` if it is not set or invalid.
  /// - Parameter aliases: Other names of the cases.
  mutating func optionalChoice<Value: CaseIterable & RawRepresentable<String>>(_ name: SettingName, aliases: [String: Value] = [:]) -> Value? {
    optionalValue(name, message: Self.choices(of: Value.self)) { text in
      if let value = aliases[text] { return value }
      return Self.parseChoice(text)
    }
  }

  private static func parseChoice<Value: CaseIterable & RawRepresentable<String>>(_ text: String) -> Value? { Value(rawValue: text.lowercased()) }

  private static func choices<Value: CaseIterable & RawRepresentable<String>>(of type: Value.Type) -> String {
    "must be one of \(type.allCases.map(\.rawValue).joined(separator: ", "))."
  }

  /// Returns the path in a setting. Adds an error if the file cannot be read.
  mutating func readableFile(_ name: SettingName) -> String? {
    guard let path = optionalString(name) else { return nil }
    if !FileManager.default.isReadableFile(atPath: path) {
      addError(name, "names a file that cannot be read.", kind: .unreadableFile, hint: Self.pathHint)
    }
    return path
  }

  /// Returns the path in OpenSSL's own variable, which the service honors.
  mutating func certificateAuthoritiesFile() -> String? {
    guard let path = environment["SSL_CERT_FILE"], !path.isEmpty else { return nil }
    if !FileManager.default.isReadableFile(atPath: path) {
      add(Finding(.unreadableFile, "SSL_CERT_FILE names a file that cannot be read.", hint: Self.pathHint))
    }
    return path
  }

  private static let pathHint = "Check the path and its permissions."

  private mutating func add(_ finding: Finding) {
    if !findings.contains(finding) { findings.append(finding) }
  }

  /// Adds an error about the form of a value, which then counts as absent.
  private mutating func refuse(_ name: SettingName, _ message: String, hint: String? = nil) {
    guard malformed.insert(name).inserted else { return }
    findings.append(Finding(.invalidSetting, message, hint: hint, setting: name))
  }

  private mutating func recordSource(_ name: SettingName, _ value: String?, _ source: String) {
    effective[name] = EffectiveSetting(value: value.map(name.shown), source: source)
  }

  private mutating func defaultText(_ name: SettingName, _ defaultValue: String? = nil) -> String? {
    if isDevelopment, let text = developmentDefaults[name] ?? name.developmentDefault {
      recordSource(name, text, "development")
      return text
    }
    let text = defaultValue ?? name.defaultValue
    recordSource(name, text, "default")
    return text
  }
}

// Values from the environment, the settings file and files with secrets
extension SettingsReader {
  /// The greatest size of a secret, in bytes. Without a limit, reading a device might never end.
  private static let secretLimit = 1 << 16

  /// The value of a variable. The environment overrides the file, and an empty value counts as absent.
  private func variable(_ name: String) -> String? {
    let text = isInEnvironment(name) ? environment[name] : file.values[name]
    return text?.isEmpty == true ? nil : text
  }

  private func isInEnvironment(_ variable: String) -> Bool { environment[variable]?.isEmpty == false }

  /// The text of a setting, or `nil` if it is not set or refused.
  private mutating func setText(_ name: SettingName) -> String? {
    if name.isSecret, let path = variable(name.fileVariable) {
      sources[name] = name.fileVariable
      return secret(name, path)
    }
    guard let text = variable(name.rawValue) else { return nil }
    let source = isInEnvironment(name.rawValue) ? "environment" : "file"
    sources[name] = source
    return accept(text, for: name, from: source)
  }

  private mutating func secret(_ name: SettingName, _ path: String) -> String? {
    if let text = variable(name.rawValue) {
      guard isInEnvironment(name.rawValue) != isInEnvironment(name.fileVariable) else {
        addError(name, "and \(name.fileVariable) are both set. Unset one of them.", kind: .conflictingSettings)
        return nil
      }
      // If one of them is in the environment and the other in the settings file, the environment overrides the file.
      if isInEnvironment(name.rawValue) { return accept(text, for: name, from: "environment") }
    }
    if case .refused(let message) = ValueForm(of: path, for: .config) {
      refuse(name, "\(name.fileVariable) \(message)")
      return nil
    }
    // A file handle can also read the pipe of a shell's `<(…)`. The reason of a failure is not shown, because it
    // contains the path, and the path may be a secret that was put into the wrong variable.
    guard let data = try? FileHandle(forReadingFrom: URL(fileURLWithPath: path)).read(upToCount: Self.secretLimit) ?? Data(),
      let text = String(data: data, encoding: .utf8)
    else {
      add(Finding(.unreadableFile, "\(name.fileVariable) names a file that cannot be read.", hint: Self.pathHint, setting: name))
      return nil
    }
    secretFiles.append((name.fileVariable, path))
    guard data.count < Self.secretLimit else {
      refuse(name, "\(name.fileVariable) names a file that is too long to contain only a secret.", hint: "Check the content of \(path).")
      return nil
    }
    // Editors and `echo` add a line end, which is never part of the secret.
    let secret = text.trimmingCharacters(in: .newlines)
    return secret.isEmpty ? nil : accept(secret, for: name, from: name.fileVariable, path: path)
  }

  /// Returns `text`, or adds an error and returns `nil` if the form of the text is wrong.
  /// - Parameter path: The file that contains the text, for a secret in a file.
  private mutating func accept(_ text: String, for name: SettingName, from source: String, path: String? = nil) -> String? {
    let subject = path == nil ? name.rawValue : "\(name.fileVariable) names a file whose content"
    switch ValueForm(of: text, for: name) {
    case .plain: break
    case .refused(let message):
      refuse(name, "\(subject) \(message)", hint: path.map { "Write only the value, on one line, into \($0)." })
      return nil
    case .doubtful(let message):
      let location = path.map { " The file is \($0)." } ?? ""
      let hint = "Remove it, unless the Django site or the mail server uses exactly the same value.\(location)"
      let warning = Finding(.doubtfulValue, "\(subject) \(message)", hint: hint, setting: name)
      if !warnings.contains(warning) { warnings.append(warning) }
    }
    recordSource(name, text, source)
    return text
  }
}
