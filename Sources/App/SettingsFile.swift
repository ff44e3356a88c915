import Foundation
import Yams

/// The file that `PASSWORD_RESET_CONFIG` names: settings by their names, in YAML, or in JSON, which is YAML too.
struct SettingsFile {
  /// The values as the environment would hold them, by name.
  private(set) var texts: [String: String] = [:]
  /// What is wrong with it: it must be one flat mapping in which each name is a setting of ours. Shows nothing of what it holds but names of settings.
  private(set) var findings: [Finding] = []

  static let none = SettingsFile()

  private init() {}

  init(path: String) {
    do throws(Finding) {
      for (key, value) in try Self.mapping(path) {
        do throws(Finding) { try add(key, value) } catch { findings.append(error) }
      }
    } catch {
      findings.append(error)
    }
  }

  private static func mapping(_ path: String) throws(Finding) -> Node.Mapping {
    let hint = "Check the path, its permissions and its contents; docs/configuration.md shows an example."
    guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8) else {
      throw Finding(.unreadableFile, "\(SettingName.config.rawValue) names a file that cannot be read, or is not UTF-8", hint: hint)
    }
    let node: Node?
    do { node = try Yams.compose(yaml: text) } catch { throw Finding(.invalidFile, reason(error), hint: hint) }
    guard let node, node.null == nil else { return [:] }
    guard let mapping = node.mapping else { throw Finding(.invalidFile, "\(name) is no mapping of settings to values", hint: hint) }
    return mapping
  }

  private mutating func add(_ key: Node, _ value: Node) throws(Finding) {
    let place = key.mark.map { " (line \($0.line), column \($0.column))" } ?? ""
    // What does not look like a name may be a value that slipped out of its place.
    guard let name = key.string, name.wholeMatch(of: /[A-Z][A-Z0-9_]{0,63}/) != nil else {
      throw Finding(.invalidFile, "\(Self.name) has a name in it that no setting can have\(place)")
    }
    guard SettingName.variables.contains(name), name != SettingName.config.rawValue else {
      throw Finding(.unknownSetting, "\(name) in \(Self.name)\(place) is not a setting", hint: "See docs/configuration.md for those there are.")
    }
    guard value.null == nil else { return }
    guard let text = SettingName(rawValue: name)?.isJSON == true ? Self.json(value) : Self.flat(value) else {
      throw Finding(.invalidFile, "\(name) in \(Self.name)\(place) has a value that cannot be written as a text", hint: "Put it in quotes.")
    }
    texts[name] = text
  }

  private static let name = "the file of \(SettingName.config.rawValue)"

  /// `a,b` of a list, `a=1,b=2` of a mapping; scalars as they stand there.
  private static func flat(_ node: Node) -> String? {
    switch node {
    case .scalar(let scalar): return scalar.string
    case .sequence(let items): return joined(items.map { $0.scalar?.string })
    case .mapping(let pairs):
      return joined(pairs.map { key, value in key.scalar.flatMap { key in value.scalar.map { "\(key.string)=\($0.string)" } } })
    default: return nil
    }
  }

  private static func joined(_ parts: [String?]) -> String? {
    let known = parts.compactMap(\.self)
    return known.count == parts.count && !known.contains { $0.contains(",") } ? known.joined(separator: ",") : nil
  }

  private static func json(_ node: Node) -> String? {
    if let scalar = node.scalar { return scalar.string }
    let object = node.any
    guard JSONSerialization.isValidJSONObject(object),
      let data = try? JSONSerialization.data(withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
    else { return nil }
    return String(decoding: data, as: UTF8.self)
  }

  /// The parser's own texts show the line, and so perhaps a secret.
  private static func reason(_ error: any Error) -> String {
    switch error as? YamlError {
    case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _):
      "\(name) is not valid at line \(mark.line), column \(mark.column)"
    case .duplicatedKeysInMapping(let names, _):
      "\(name) sets \(names.filter(SettingName.variables.contains).sorted().joined(separator: ", ")) more than once"
    default: "\(name) is no YAML or JSON"
    }
  }
}
