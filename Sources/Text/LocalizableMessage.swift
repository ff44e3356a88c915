/// A sentence for people: in English, and with all that it takes to say it in another language.
public struct LocalizableMessage: Sendable, Equatable {
  /// What a sentence speaks of.
  public enum Parameter: Sendable, Equatable {
    case int(Int)
    case string(String)

    var text: String {
      switch self {
      case .int(let number): String(number)
      case .string(let text): text
      }
    }
  }

  /// English, with `{name}` where a parameter stands. Its translations are found by it.
  public var template: String
  /// English for a count of one, where that differs.
  public var singular: String?
  public var parameters: [String: Parameter]
  /// The parameter whose number decides on singular and plural.
  public var countedBy: String?

  public init(_ template: String, singular: String? = nil, _ parameters: [String: Parameter] = [:], countedBy: String? = nil) {
    self.template = template
    self.singular = singular
    self.parameters = parameters
    self.countedBy = countedBy
  }

  /// The number that singular and plural depend on.
  public var count: Int? {
    guard let countedBy, case .int(let number) = parameters[countedBy] else { return nil }
    return number
  }

  public var english: String { fill(count == 1 ? singular ?? template : template) }

  /// A translation with the parameters in their places.
  public func fill(_ translation: String) -> String {
    // By hand: it is done for each check of a link, and a regular expression takes its time.
    var parts = translation.split(separator: "{", omittingEmptySubsequences: false)
    var text = String(parts.removeFirst())
    for part in parts {
      let name = part.prefix { $0 != "}" }
      if name.endIndex < part.endIndex, let parameter = parameters[String(name)] {
        text += parameter.text + part[part.index(after: name.endIndex)...]
      } else {
        text += "{" + part
      }
    }
    return text
  }
}
