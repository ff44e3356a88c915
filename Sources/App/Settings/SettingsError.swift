/// An invalid configuration. It lists all errors at once and never contains a value.
struct SettingsError: Error, CustomStringConvertible, Equatable {
  let findings: [Finding]
  /// Warnings about other values, if the complete configuration was read.
  var warnings: [Finding] = []
  /// Every setting, if the complete configuration was read.
  var effective: [SettingName: EffectiveSetting] = [:]

  init(_ findings: [Finding]) { self.findings = findings }

  /// - Parameter message: The rest of a sentence that begins with the name of the setting.
  init(_ kind: Finding.Kind, _ name: SettingName, _ message: String) {
    findings = [Finding(kind, "\(name.rawValue) \(message)", setting: name)]
  }

  var description: String {
    findings.map { finding in "configuration: \(finding.message)" + (finding.hint.map { " \($0)" } ?? "") }.joined(separator: "\n")
  }
}

/// The value of a setting and where it comes from, as `password-reset config` shows it.
struct EffectiveSetting: Sendable, Equatable {
  /// The value, or `nil` if the setting has none. Asterisks replace a secret.
  var value: String?
  /// `environment`, `file`, `development`, `default`, or the variable that names the file with a secret.
  var source: String
  /// What is wrong with the value, which is then not shown, or that it is missing.
  var error: String?
}
