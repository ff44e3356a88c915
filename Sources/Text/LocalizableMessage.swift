/// A sentence for people, in English, with everything that is needed to say it in another language.
public struct LocalizableMessage: Sendable, Equatable {
  /// A value that a message contains.
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

  /// The English sentence, with `{name}` for each parameter. Translations are looked up by it.
  public var key: String
  /// The English sentence for a count of one, or `nil` if it does not differ.
  public var one: String?
  /// The values of the sentence's parameters, by name.
  public var parameters: [String: Parameter]
  /// The name of the parameter whose number selects the plural form, or `nil` if the sentence has only one form.
  public var pluralArgument: String?

  /// Creates a message from its English sentence and the values of its parameters.
  public init(_ key: String, one: String? = nil, _ parameters: [String: Parameter] = [:], pluralArgument: String? = nil) {
    self.key = key
    self.one = one
    self.parameters = parameters
    self.pluralArgument = pluralArgument
  }

  /// The number that selects the plural form, or `nil` if the sentence has only one form.
  public var count: Int? {
    guard let pluralArgument, case .int(let number) = parameters[pluralArgument] else { return nil }
    return number
  }

  /// The sentence in English, with its parameters filled in.
  public var english: String { interpolate(count == 1 ? one ?? key : key) }

  /// Returns the translation with the values of the parameters filled in. A name that has no value stays as it is.
  public func interpolate(_ translation: String) -> String {
    // Many responses need this, and a regular expression would be slower.
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
