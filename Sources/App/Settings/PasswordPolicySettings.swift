import Credentials
import Foundation
import PasswordReset

/// How new passwords are checked and hashed.
struct PasswordPolicySettings: SettingsGroup, Sendable {
  /// The hasher for new passwords.
  let hasher: any PasswordHasher
  /// How many passwords are hashed at once.
  let concurrency: Int
  let rules: PasswordValidatorList

  init(from reader: inout SettingsReader) {
    hasher = Self.hasher(from: &reader)
    let cores = ProcessInfo.processInfo.activeProcessorCount
    concurrency = reader.integer(.passwordHasherConcurrency, default: min(1024, cores), in: 1...1024)
    rules = Self.rules(from: &reader)
  }

  /// Returns the policy of this configuration.
  /// - Parameter hasher: A hasher to use instead of the configured one.
  func policy(hasher: (any PasswordHasher)? = nil) -> PasswordPolicy {
    PasswordPolicy(
      hashers: PasswordHashers(preferred: hasher ?? self.hasher), validators: rules.validators,
      refusesCurrentPassword: rules.refusesCurrentPassword)
  }

  private static func hasher(from reader: inout SettingsReader) -> any PasswordHasher {
    let algorithm = reader.string(.passwordHasher)
    let message = "must be pairs of names and numbers separated by commas, such as memory_cost=65536,time_cost=3."
    let options = reader.optionalValue(.passwordHasherOptions, message: message, pairs) ?? [:]
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
      return PBKDF2PasswordHasher()
    }
  }

  private static func rules(from reader: inout SettingsReader) -> PasswordValidatorList {
    guard let json = reader.optionalString(.authPasswordValidators) else { return .standard }
    do {
      return try PasswordValidatorList(json: json)
    } catch {
      reader.addError(.authPasswordValidators, error.message)
      return .standard
    }
  }

  /// Parses `a=1,b=2`. Returns `nil` if a name occurs twice.
  private static func pairs(_ text: String) -> [String: Int]? {
    var pairs: [String: Int] = [:]
    for pair in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let match = pair.wholeMatch(of: /([a-z_]+)=([0-9]+)/), let value = Int(match.2), pairs.updateValue(value, forKey: String(match.1)) == nil
      else { return nil }
    }
    return pairs
  }
}
