import Foundation
import Yams

/// The file that `PASSWORD_RESET_CONFIG` names: a YAML mapping of settings to values. JSON is a subset of YAML.
struct SettingsFile {
  /// The values, in the form that the environment uses.
  private(set) var values: [String: String] = [:]
  /// The errors in the file. They contain names of settings, but no other text of the file, because that may be a secret.
  private(set) var findings: [Finding] = []

  static let empty = SettingsFile()

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
    let hint = "docs/configuration.md shows an example."
    guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8) else {
      let message = "\(SettingName.config.rawValue) names a file that cannot be read or is not UTF-8."
      throw Finding(.unreadableFile, message, hint: "Check the path and its permissions.")
    }
    let node: Node?
    do { node = try Yams.compose(yaml: text) } catch { throw Finding(.invalidFile, description(of: error, in: text), hint: hint) }
    guard let node, node.null == nil else { return [:] }
    guard let mapping = node.mapping else { throw Finding(.invalidFile, "The \(name) is not a mapping of settings to values.", hint: hint) }
    return mapping
  }

  private mutating func add(_ key: Node, _ value: Node) throws(Finding) {
    let location = key.mark.map { " at line \($0.line), column \($0.column)" } ?? ""
    // A name that does not look like a setting is not shown, because it may be a misplaced secret.
    guard let name = key.string, name.wholeMatch(of: /[A-Z][A-Z0-9_]{0,63}/) != nil else {
      throw Finding(.invalidFile, "The \(Self.name) contains a name that no setting can have\(location).")
    }
    guard SettingName.variables.contains(name), name != SettingName.config.rawValue else {
      throw Finding(.unknownSetting, "\(name)\(location) of the \(Self.name) is not a setting.", hint: "docs/configuration.md lists all settings.")
    }
    guard value.null == nil else { return }
    guard let text = SettingName(rawValue: name)?.isJSON == true ? Self.json(value) : Self.flat(value) else {
      throw Finding(
        .invalidFile, "\(name)\(location) of the \(Self.name) has a value that cannot be converted to text.",
        hint: "Write it in quotation marks, in the form that the environment uses.")
    }
    values[name] = text
  }

  private static let name = "\(SettingName.config.rawValue) file"

  /// Converts a list to `a,b` and a mapping to `a=1,b=2`. A scalar is unchanged.
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

  /// Converts a node to JSON. A scalar is unchanged, because it may be JSON already.
  private static func json(_ node: Node) -> String? {
    if let scalar = node.scalar { return scalar.string }
    // Limits the number of nodes, because aliases can turn a small file into an enormous value.
    var budget = 10_000
    // Serialization fails for values that JSON does not have, such as infinity.
    guard let value = plain(node, &budget),
      let data = try? JSONSerialization.data(withJSONObject: value, options: [.sortedKeys, .withoutEscapingSlashes])
    else { return nil }
    return String(decoding: data, as: UTF8.self)
  }

  /// Converts a node to the types that `JSONSerialization` accepts. The conversion of Yams crashes if a key is not a string.
  private static func plain(_ node: Node, _ budget: inout Int) -> Any? {
    budget -= 1
    guard budget > 0 else { return nil }
    switch node {
    case .scalar(let scalar): return plain(scalar)
    case .sequence(let items): return plain(items, &budget)
    case .mapping(let pairs): return plain(pairs, &budget)
    default: return nil
    }
  }

  private static func plain(_ scalar: Node.Scalar) -> Any? {
    guard scalar.style == .plain else { return scalar.string }
    let node = Node.scalar(scalar)
    return node.null ?? node.bool ?? node.int ?? node.float ?? scalar.string
  }

  private static func plain(_ items: Node.Sequence, _ budget: inout Int) -> [Any]? {
    var list: [Any] = []
    for item in items {
      guard let value = plain(item, &budget) else { return nil }
      list.append(value)
    }
    return list
  }

  private static func plain(_ pairs: Node.Mapping, _ budget: inout Int) -> [String: Any]? {
    var object: [String: Any] = [:]
    for (key, item) in pairs {
      guard let name = key.scalar?.string, let value = plain(item, &budget) else { return nil }
      object[name] = value
    }
    return object
  }

  /// Describes a parser error. The parser's own description is not used, because it quotes the line, which may contain a secret.
  private static func description(of error: any Error, in text: String) -> String {
    switch error as? YamlError {
    case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _):
      "The \(name) has a syntax error at line \(mark.line), column \(mark.column)."
    case .duplicatedKeysInMapping(let names, _):
      "The \(name) contains more than once: \(Set(names.map { duplicate($0, in: text) }).sorted().joined(separator: ", "))."
    default: "The \(name) is neither YAML nor JSON."
    }
  }

  /// Describes a duplicate name and its lines. An unknown name is not shown, because it may be a misplaced secret.
  private static func duplicate(_ name: String, in text: String) -> String {
    guard SettingName.variables.contains(name) else { return "a name that is not a setting" }
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().filter { $0.element.contains(name) }
    return "\(name) (\(lines.map { "line \($0.offset + 1)" }.joined(separator: ", ")))"
  }
}
