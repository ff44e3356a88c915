import Credentials
import Foundation

/// The rules for new passwords: Django's `AUTH_PASSWORD_VALIDATORS`, in its own form, so that a site's setting can be copied.
///
///     [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}}]
struct PasswordPolicySettings: Sendable {
  /// What is wrong with the setting; for the operator.
  struct Fault: Error {
    var remedy: String
  }

  /// In the order of their errors.
  var validators: [any PasswordValidator] = []
  /// Whether the present password is refused as the new one.
  var refusesCurrentPassword = false

  private var minimum = 0
  private var maximum = 1024

  /// The validators of Django's project template, in its order, and a maximum that Django lacks.
  static let usual = PasswordPolicySettings(validators: defaultPasswordValidators())

  private init(validators: [any PasswordValidator]) { self.validators = validators }

  /// - Parameter json: a list of validators, each with a `NAME`, with or without Django's module path, and perhaps `OPTIONS`.
  init(json: String) throws(Fault) {
    // What the decoder finds wrong may show the value, which is not printed.
    guard let entries = try? JSONDecoder().decode([[String: Value]].self, from: Data(json.utf8)) else {
      throw Fault(remedy: #"must be JSON such as [{"NAME": "MinimumLengthValidator", "OPTIONS": {"min_length": 12}}]"#)
    }
    for entry in entries { try add(entry) }
    if minimum > maximum { throw Fault(remedy: "asks for more characters than it allows: min_length is above max_length") }
    // What a stranger makes us hash has a bound, whatever the list says.
    if !validators.contains(where: { $0 is MaximumLengthValidator }) { validators.append(MaximumLengthValidator()) }
  }

  private mutating func add(_ entry: [String: Value]) throws(Fault) {
    guard case .text(let path) = entry["NAME"], Set(entry.keys).isSubset(of: ["NAME", "OPTIONS"]) else {
      throw Fault(remedy: "must have a NAME, and perhaps OPTIONS, in each entry")
    }
    let prefix = "django.contrib.auth.password_validation."
    let name = path.hasPrefix(prefix) ? String(path.dropFirst(prefix.count)) : path
    var options = try Options(name, entry["OPTIONS"])
    switch name {
    case "UserAttributeSimilarityValidator":
      let similarity = try options.number("max_similarity", 0.1...1) ?? 0.7
      validators.append(UserAttributeSimilarityValidator(attributes: try options.attributes(), maximumSimilarity: similarity))
    case "MinimumLengthValidator":
      minimum = try options.integer("min_length", 0...1024) ?? 8
      validators.append(MinimumLengthValidator(minimum: minimum))
    case "MaximumLengthValidator":
      maximum = try options.integer("max_length", 8...4096) ?? 1024
      validators.append(MaximumLengthValidator(maximum: maximum))
    case "CommonPasswordValidator": validators.append(try options.commonPasswords())
    case "NumericPasswordValidator": validators.append(NumericPasswordValidator())
    case "CurrentPasswordValidator": refusesCurrentPassword = true
    default:
      throw Fault(
        remedy: """
          names a validator that there is not; there are UserAttributeSimilarityValidator, MinimumLengthValidator, MaximumLengthValidator, \
          CommonPasswordValidator, NumericPasswordValidator and CurrentPasswordValidator
          """)
    }
    try options.end()
  }

  /// What JSON may hold here.
  private enum Value: Decodable {
    case text(String), number(Double), list([String]), object([String: Value])

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      // Each try that fails only says that it is another kind of value.
      if let text = try? container.decode(String.self) {
        self = .text(text)
      } else if let number = try? container.decode(Double.self) {
        self = .number(number)
      } else if let list = try? container.decode([String].self) {
        self = .list(list)
      } else {
        self = .object(try container.decode([String: Value].self))
      }
    }
  }

  /// The options of one validator; each is taken once, and none may be left.
  private struct Options {
    private let validator: String
    private var values: [String: Value]

    init(_ validator: String, _ value: Value?) throws(Fault) {
      self.validator = validator
      switch value {
      case nil: values = [:]
      case .object(let object): values = object
      default: throw Fault(remedy: "must have an object as the OPTIONS of \(validator)")
      }
    }

    mutating func number(_ name: String, _ range: ClosedRange<Double>) throws(Fault) -> Double? {
      guard let value = values.removeValue(forKey: name) else { return nil }
      guard case .number(let number) = value, range.contains(number) else {
        throw fault("\(name) must be from \(range.lowerBound) to \(range.upperBound)")
      }
      return number
    }

    mutating func integer(_ name: String, _ range: ClosedRange<Int>) throws(Fault) -> Int? {
      guard let value = values.removeValue(forKey: name) else { return nil }
      guard case .number(let number) = value, let integer = Int(exactly: number), range.contains(integer) else {
        throw fault("\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)")
      }
      return integer
    }

    mutating func attributes() throws(Fault) -> [UserAttributeSimilarityValidator.Attribute] {
      guard let value = values.removeValue(forKey: "user_attributes") else { return UserAttributeSimilarityValidator.Attribute.allCases }
      guard case .list(let names) = value, case let attributes = names.compactMap(UserAttributeSimilarityValidator.Attribute.init),
        attributes.count == names.count
      else { throw fault("user_attributes must be a list of username, first_name, last_name and email") }
      return attributes
    }

    mutating func commonPasswords() throws(Fault) -> CommonPasswordValidator {
      guard let value = values.removeValue(forKey: "password_list_path") else { return CommonPasswordValidator() }
      guard case .text(let path) = value, let data = FileManager.default.contents(atPath: path) else {
        throw fault("password_list_path names a file that cannot be read; check the path and its permissions")
      }
      if data.starts(with: [0x1F, 0x8B]) { throw fault("password_list_path names a compressed file; unpack it with gunzip") }
      guard String(data: data, encoding: .utf8) != nil else { throw fault("password_list_path names a file that is not UTF-8") }
      return CommonPasswordValidator(list: [UInt8](data))
    }

    /// Throws if an option is left that the validator does not have.
    func end() throws(Fault) {
      if let name = values.keys.min() { throw fault("there is no option \(name)") }
    }

    private func fault(_ text: String) -> Fault { Fault(remedy: "has a mistake at \(validator): \(text)") }
  }
}
