import Credentials
import Foundation
import PwnedPasswords

/// The rules for new passwords: Django's `AUTH_PASSWORD_VALIDATORS` in Django's format, so that a site's setting can be copied.
///
///     [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}}]
struct PasswordValidatorList: Sendable {
  /// What is wrong with the setting.
  struct Invalid: Error {
    /// The rest of a sentence that begins with the name of the setting.
    var message: String
    var kind = Finding.Kind.invalidSetting
  }

  /// The validators, in the order in which their errors are listed.
  private(set) var validators: [any PasswordValidator] = []
  /// Whether the current password is refused as the new one.
  private(set) var refusesCurrentPassword = false
  /// How many of the user's last passwords are refused as the new one, the current one included.
  private(set) var historyLength = 0
  /// Where leaked passwords are looked up, or `nil` if no rule asks for that.
  private(set) var pwned: PwnedPasswordsOptions?

  private var minimum = 0
  private var maximum = 1024

  /// The validators of Django's project template, in its order, and a maximum length, which Django does not have.
  static let standard = PasswordValidatorList(validators: defaultPasswordValidators())

  private init(validators: [any PasswordValidator]) { self.validators = validators }

  /// - Parameters:
  ///   - json: A list of validators. Each has a `NAME`, with or without Django's module path, and optional `OPTIONS`.
  ///   - siteWords: Returns the names of the site, if a validator needs them.
  init(json: String, siteWords: () -> SiteWords) throws(Invalid) {
    // The decoder's own error is not shown, because it may contain a part of the value.
    guard let entries = try? JSONDecoder().decode([[String: Value]].self, from: Data(json.utf8)) else {
      throw Invalid(message: #"must be JSON such as [{"NAME": "MinimumLengthValidator", "OPTIONS": {"min_length": 12}}]."#)
    }
    for entry in entries { try add(entry, siteWords) }
    if minimum > maximum { throw Invalid(message: "can accept no password, because its min_length is greater than its max_length.") }
    // Limits how much a request can make the service hash, even if the list sets no maximum.
    if !validators.contains(where: { $0 is MaximumLengthValidator }) { validators.append(MaximumLengthValidator()) }
  }

  private mutating func add(_ entry: [String: Value], _ siteWords: () -> SiteWords) throws(Invalid) {
    guard case .text(let path) = entry["NAME"], Set(entry.keys).isSubset(of: ["NAME", "OPTIONS"]) else {
      throw Invalid(message: "must have a NAME in each entry, and nothing else except OPTIONS.")
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
    case "PasswordHistoryValidator": historyLength = try options.integer("count", 1...24) ?? 4
    case "ContextWordsValidator": validators.append(try options.contextWords(siteWords()))
    case "django_zxcvbn_password_validator.ZxcvbnPasswordValidator", "zxcvbn_password.ZXCVBNValidator":
      throw Invalid(message: "names a validator by zxcvbn, which the service does not have: docs/passwords.md explains why. Remove the entry.")
    case "PwnedPasswordsValidator", "pwned_passwords_django.validators.PwnedPasswordsValidator":
      guard pwned == nil else { throw Invalid(message: "can name PwnedPasswordsValidator only once.") }
      // The package pwned-passwords-django asks the API without options.
      pwned = try PwnedPasswordsOptions(&options, defaultURL: name == "PwnedPasswordsValidator" ? nil : RangeAPI.publicURL)
    default:
      throw Invalid(
        message: """
          names an unknown validator. The validators are UserAttributeSimilarityValidator, MinimumLengthValidator, MaximumLengthValidator, \
          CommonPasswordValidator, NumericPasswordValidator, ContextWordsValidator, PwnedPasswordsValidator, CurrentPasswordValidator and \
          PasswordHistoryValidator.
          """)
    }
    try options.checkAllRead()
  }

  /// The JSON values that an entry may have.
  enum Value: Decodable {
    case text(String), number(Double), boolean(Bool), list([String]), object([String: Value])

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      // Each try that fails only says that it is another kind of value.
      if let text = try? container.decode(String.self) {
        self = .text(text)
      } else if let number = try? container.decode(Double.self) {
        self = .number(number)
      } else if let boolean = try? container.decode(Bool.self) {
        self = .boolean(boolean)
      } else if let list = try? container.decode([String].self) {
        self = .list(list)
      } else {
        self = .object(try container.decode([String: Value].self))
      }
    }
  }

  /// The options of one validator. Reading an option removes it, so that the unknown ones are left at the end.
  struct Options {
    private let validator: String
    var values: [String: Value]

    init(_ validator: String, _ value: Value?) throws(Invalid) {
      self.validator = validator
      switch value {
      case nil: values = [:]
      case .object(let object): values = object
      default: throw Invalid(message: "must have a JSON object as the OPTIONS of \(validator).")
      }
    }

    mutating func number(_ name: String, _ range: ClosedRange<Double>) throws(Invalid) -> Double? {
      guard let value = values.removeValue(forKey: name) else { return nil }
      guard case .number(let number) = value, range.contains(number) else {
        throw invalid("\(name) must be between \(range.lowerBound) and \(range.upperBound).")
      }
      return number
    }

    mutating func integer(_ name: String, _ range: ClosedRange<Int>) throws(Invalid) -> Int? {
      guard let value = values.removeValue(forKey: name) else { return nil }
      guard case .number(let number) = value, let integer = Int(exactly: number), range.contains(integer) else {
        throw invalid("\(name) must be a whole number between \(range.lowerBound) and \(range.upperBound).")
      }
      return integer
    }

    mutating func text(_ name: String) throws(Invalid) -> String? {
      guard let value = values.removeValue(forKey: name) else { return nil }
      guard case .text(let text) = value, !text.isEmpty else { throw invalid("\(name) must be a text.") }
      return text
    }

    mutating func attributes() throws(Invalid) -> [UserAttributeSimilarityValidator.Attribute] {
      guard let value = values.removeValue(forKey: "user_attributes") else { return UserAttributeSimilarityValidator.Attribute.allCases }
      guard case .list(let names) = value, case let attributes = names.compactMap(UserAttributeSimilarityValidator.Attribute.init),
        attributes.count == names.count
      else { throw invalid("user_attributes must be a list of username, first_name, last_name and email.") }
      return attributes
    }

    mutating func commonPasswords() throws(Invalid) -> CommonPasswordValidator {
      guard let list = try file("password_list_path") else { return CommonPasswordValidator() }
      return CommonPasswordValidator(list: Array(list.utf8))
    }

    mutating func strings(_ name: String) throws(Invalid) -> [String] {
      guard let value = values.removeValue(forKey: name) else { return [] }
      guard case .list(let strings) = value else { throw invalid("\(name) must be a list of texts.") }
      return strings
    }

    /// Returns the content of the file that an option names, or `nil` if there is no such option.
    mutating func file(_ name: String) throws(Invalid) -> String? {
      guard let value = values.removeValue(forKey: name) else { return nil }
      guard case .text(let path) = value, let data = FileManager.default.contents(atPath: path) else {
        throw invalid("\(name) names a file that cannot be read. Check the path and its permissions.")
      }
      if data.starts(with: [0x1F, 0x8B]) { throw invalid("\(name) names a compressed file. Decompress it with gunzip.") }
      guard let text = String(data: data, encoding: .utf8) else { throw invalid("\(name) names a file that is not UTF-8.") }
      return text
    }

    /// Throws if the validator does not have one of the options.
    func checkAllRead() throws(Invalid) {
      if let name = values.keys.min() { throw invalid("it has no option \(name).") }
    }

    func invalid(_ message: String, kind: Finding.Kind = .invalidSetting) -> Invalid {
      Invalid(message: "has an invalid \(validator): \(message)", kind: kind)
    }
  }
}
