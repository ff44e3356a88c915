import ArgumentParser
import Foundation

struct ConfigCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config",
    abstract: "Show each setting with its current value and its source.",
    discussion: """
      An environment variable takes precedence over the file that PASSWORD_RESET_CONFIG names, and the file over the default. Secrets are hidden. \
      docs/configuration.md explains each setting.
      """
  )

  @Flag(help: "Show the settings of `serve --dev`.")
  var dev = false

  @Flag(help: "Print a JSON array.")
  var json = false

  func run() async throws {
    try await CommandError.withExitCodes {
      let effective = try Settings(environment: ProcessInfo.processInfo.environment, dev: dev, storesKey: false).effective
      let table = Table(27, 16)
      let rows = SettingName.allCases.map { Row(name: $0.rawValue, value: effective[$0]?.value, source: effective[$0]?.source ?? "default") }
      print(json ? try Output.jsonArray(rows) : rows.map { table.row($0.name, $0.source, $0.value ?? "") }.joined(separator: "\n"))
    }
  }

  private struct Row: Encodable {
    var name: String
    var value: String?
    var source: String

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(name, forKey: .name)
      // A setting without a value is null and not left out.
      try container.encode(value, forKey: .value)
      try container.encode(source, forKey: .source)
    }

    private enum CodingKeys: CodingKey { case name, value, source }
  }
}
