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
    do { node = try Yams.compose(yaml: text) } catch { throw Finding(.invalidFile, reason(error, text), hint: hint) }
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
      throw Finding(
        .invalidFile, "\(name) in \(Self.name)\(place) has a value that cannot be written as a text",
        hint: "Put all of it in quotes, as it would stand in the environment.")
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
    // Names for parts that are used again (aliases) can make a small file a large value.
    var budget = 10_000
    // What JSON has no place for, such as an infinite number, is no value either.
    guard let value = plain(node, &budget),
      let data = try? JSONSerialization.data(withJSONObject: value, options: [.sortedKeys, .withoutEscapingSlashes])
    else { return nil }
    return String(decoding: data, as: UTF8.self)
  }

  /// As JSON has it: texts, numbers, booleans, null, lists and mappings. Yams' own conversion stops the process at a name that is no text.
  private static func plain(_ node: Node, _ budget: inout Int) -> Any? {
    budget -= 1
    guard budget > 0 else { return nil }
    switch node {
    case .scalar(let scalar) where scalar.style == .plain: return node.null ?? node.bool ?? node.int ?? node.float ?? scalar.string
    case .scalar(let scalar): return scalar.string
    case .sequence(let items):
      var list: [Any] = []
      for item in items {
        guard let value = plain(item, &budget) else { return nil }
        list.append(value)
      }
      return list
    case .mapping(let pairs):
      var object: [String: Any] = [:]
      for (key, item) in pairs {
        guard let name = key.scalar?.string, let value = plain(item, &budget) else { return nil }
        object[name] = value
      }
      return object
    default: return nil
    }
  }

  /// The parser's own texts show the line, and so perhaps a secret.
  private static func reason(_ error: any Error, _ text: String) -> String {
    switch error as? YamlError {
    case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _):
      "\(name) is not valid at line \(mark.line), column \(mark.column)"
    case .duplicatedKeysInMapping(let names, _):
      "\(name) has more than once: \(Set(names.map { duplicate($0, text) }).sorted().joined(separator: ", "))"
    default: "\(name) is no YAML or JSON"
    }
  }

  /// The setting and the lines that name it. What is no setting may be a value that slipped out of its place.
  private static func duplicate(_ name: String, _ text: String) -> String {
    guard SettingName.variables.contains(name) else { return "a name that is no setting" }
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().filter { $0.element.contains(name) }
    return "\(name) (\(lines.map { "line \($0.offset + 1)" }.joined(separator: ", ")))"
  }
}
