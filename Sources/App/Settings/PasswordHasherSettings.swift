import Credentials
import Foundation

/// How passwords are hashed, and how the users table writes a hash.
struct PasswordHasherSettings: SettingsGroup, Sendable {
  /// Hash new passwords and verify stored ones.
  let hashers: PasswordHashers

  init(from reader: inout SettingsReader) {
    let name: PasswordFormat.Name = reader.choice(.passwordFormat)
    // Django's default has no string in the format crypt.
    let hasher = Self.hasher(from: &reader, default: name == .crypt ? "bcrypt" : nil)
    guard let hasher, let format = Self.format(name, hasher.algorithm, from: &reader) else {
      hashers = PasswordHashers()
      return
    }
    hashers = PasswordHashers(preferred: hasher, format: format)
  }

  private static func hasher(from reader: inout SettingsReader, default defaultValue: String?) -> (any PasswordHasher)? {
    let algorithm = reader.value(.passwordHasher, default: defaultValue, message: "") { $0 }
    let message = "must be pairs of names and numbers separated by commas, such as memory_cost=65536,time_cost=3."
    let options = reader.optionalValue(.passwordHasherOptions, message: message, numbers) ?? [:]
    do {
      return try PasswordHashers.make(algorithm, options: options)
    } catch {
      switch error {
      case .unknownAlgorithm:
        reader.addError(.passwordHasher, "must be one of \(PasswordHashers.algorithms.joined(separator: ", ")).")
      case .unknownOption(_, let known):
        reader.addError(.passwordHasherOptions, "has an unknown option. The options of \(algorithm) are \(known.joined(separator: ", ")).")
      case .outOfBounds:
        reader.addError(
          .passwordHasherOptions, "sets a cost that is too high or that \(algorithm) does not support.",
          hint: "See the section on passwords in docs/configuration.md.")
      }
      return nil
    }
  }

  private static func format(_ name: PasswordFormat.Name, _ algorithm: String, from reader: inout SettingsReader) -> PasswordFormat? {
    let message = "must be pairs of names and values separated by commas, such as ident=2y,prefix={bcrypt}."
    let options = reader.optionalValue(.passwordFormatOptions, message: message, pairs) ?? [:]
    do {
      return try PasswordFormat.make(name, options: options, algorithm: algorithm)
    } catch {
      switch error {
      case .unsupportedAlgorithm:
        reader.addError(
          .passwordFormat, "is crypt, which has no string for the algorithm in PASSWORD_HASHER.", kind: .conflictingSettings,
          hint: "Set PASSWORD_HASHER to \(PasswordFormat.cryptAlgorithms.joined(separator: " or ")), or PASSWORD_FORMAT to django.")
      case .unusedOptions:
        reader.addError(
          .passwordFormatOptions, "is only for PASSWORD_FORMAT=crypt.", kind: .conflictingSettings,
          hint: "Set PASSWORD_FORMAT=crypt, or unset PASSWORD_FORMAT_OPTIONS.")
      case .unknownOption: reader.addError(.passwordFormatOptions, "has an unknown option. The options are ident and prefix.")
      case .identWithoutBcrypt:
        reader.addError(
          .passwordFormatOptions, "has the option ident, which is only for bcrypt.", kind: .conflictingSettings,
          hint: "Remove ident, or set PASSWORD_HASHER=bcrypt.")
      case .unknownIdent: reader.addError(.passwordFormatOptions, "has an unknown ident: it must be 2a, 2b or 2y.")
      case .invalidPrefix:
        reader.addError(
          .passwordFormatOptions, "has an invalid prefix: it must be a name in braces with at most 40 characters, such as {bcrypt}.")
      case .prefixOfOtherAlgorithm:
        reader.addError(
          .passwordFormatOptions, "has a prefix that names another algorithm than PASSWORD_HASHER.", kind: .conflictingSettings,
          hint: "Set both to the same algorithm.")
      }
      return nil
    }
  }

  /// Parses `a=1,b=2`. Returns `nil` if a name occurs twice.
  private static func numbers(_ text: String) -> [String: Int]? {
    guard let pairs = pairs(text) else { return nil }
    let numbers = pairs.compactMapValues { $0.wholeMatch(of: /[0-9]+/) == nil ? nil : Int($0) }
    return numbers.count == pairs.count ? numbers : nil
  }

  /// Parses `a=x,b=y`. Returns `nil` if a name occurs twice.
  private static func pairs(_ text: String) -> [String: String]? {
    var pairs: [String: String] = [:]
    for pair in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let match = pair.wholeMatch(of: /([a-z_]+)=([^=]+)/), pairs.updateValue(String(match.2), forKey: String(match.1)) == nil
      else { return nil }
    }
    return pairs
  }
}
