import ArgumentParser
import Foundation

struct ConfigCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config",
    abstract: "Show every setting as it is in force, and where it comes from.",
    discussion: """
      The environment goes before the file that PASSWORD_RESET_CONFIG names, and that before the default. Secrets are hidden. docs/configuration.md says
      what each setting means.
      """
  )

  @Flag(help: "Show what `serve --dev` takes.")
  var dev = false

  @Flag(help: "Print a JSON array, for programs.")
  var json = false

  func run() async throws {
    try await CommandError.report {
      let effective = try Settings(environment: ProcessInfo.processInfo.environment, dev: dev, storesKey: false).effective
      let rows = SettingName.allCases.map { Row(name: $0.rawValue, value: effective[$0]?.value, source: effective[$0]?.source ?? "default") }
      print(json ? try document(rows) : table(rows))
    }
  }

  private struct Row: Encodable {
    var name: String
    var value: String?
    var source: String

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(name, forKey: .name)
      // As null if there is none, not left out.
      try container.encode(value, forKey: .value)
      try container.encode(source, forKey: .source)
    }

    private enum CodingKeys: CodingKey { case name, value, source }
  }

  private func table(_ rows: [Row]) -> String {
    rows.map { "\(padded($0.name, 27)) \(padded($0.source, 16)) \(printable($0.value ?? ""))" }.joined(separator: "\n")
  }

  private func document(_ rows: [Row]) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(rows), as: UTF8.self)
  }
}
