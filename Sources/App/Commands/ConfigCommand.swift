import ArgumentParser
import Foundation

struct ConfigCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config",
    abstract: "Show each setting with its current value and its source.",
    discussion: """
      An environment variable takes precedence over the file that PASSWORD_RESET_CONFIG names, and the file over the default. Secrets are hidden. \
      docs/configuration.md explains each setting. If a setting is wrong or missing, the command marks it, shows the others, and exits with 78.
      """
  )

  @Flag(help: "Show the settings of `serve --dev`.")
  var dev = false

  @Flag(help: "Print a JSON array.")
  var json = false

  func run() async throws {
    try await CommandError.withExitCodes {
      do {
        try show(Settings(environment: ProcessInfo.processInfo.environment, dev: dev, storesKey: false).effective)
      } catch let error as SettingsError {
        try show(error.effective)
        throw error
      }
    }
  }

  private func show(_ effective: [SettingName: EffectiveSetting]) throws {
    let table = Table(27, 16)
    let rows = SettingName.allCases.map { name in
      Row(name: name.rawValue, value: effective[name]?.value, source: effective[name]?.source ?? "default", error: effective[name]?.error)
    }
    let lines = rows.map { table.row($0.name, $0.source, $0.error.map { "(error) \($0)" } ?? $0.value ?? "") }
    print(json ? try Output.jsonArray(rows) : lines.joined(separator: "\n"))
  }

  private struct Row: Encodable {
    var name: String
    var value: String?
    var source: String
    var error: String?

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(name, forKey: .name)
      // A setting without a value is null and not left out.
      try container.encode(value, forKey: .value)
      try container.encode(source, forKey: .source)
      try container.encodeIfPresent(error, forKey: .error)
    }

    private enum CodingKeys: CodingKey { case name, value, source, error }
  }
}
