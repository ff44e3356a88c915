import Credentials
import Foundation
import Logging
import PasswordReset
import Prometheus

/// How new passwords are checked and hashed.
struct PasswordPolicySettings: SettingsGroup, Sendable {
  /// Hash new passwords and verify stored ones.
  let hashers: PasswordHashers
  /// How many passwords are hashed at once.
  let concurrency: Int
  let rules: PasswordValidatorList

  init(from reader: inout SettingsReader) {
    hashers = PasswordHasherSettings(from: &reader).hashers
    let cores = ProcessInfo.processInfo.activeProcessorCount
    concurrency = reader.integer(.passwordHasherConcurrency, default: min(1024, cores), in: 1...1024)
    rules = Self.rules(from: &reader)
  }

  /// Returns the policy of this configuration.
  /// - Parameters:
  ///   - hasher: A hasher to use instead of the configured one.
  ///   - registry: Counts the look-ups of passwords.
  ///   - logger: Records the look-ups that fail.
  func policy(hasher: (any PasswordHasher)? = nil, registry: Registry, logger: Logger) -> PasswordPolicy {
    let lookups = rules.pwned.map { [$0.validator(registry: registry, logger: logger)] } ?? []
    return PasswordPolicy(
      hashers: hashers(preferring: hasher), validators: rules.validators, lookups: lookups, refusesCurrentPassword: rules.refusesCurrentPassword,
      historyLength: rules.historyLength)
  }

  /// Returns the hashers of this configuration, or with another one for new passwords.
  func hashers(preferring hasher: (any PasswordHasher)?) -> PasswordHashers {
    hasher.map { PasswordHashers(preferred: $0, format: hashers.format) } ?? hashers
  }

  private static func rules(from reader: inout SettingsReader) -> PasswordValidatorList {
    guard let json = reader.optionalString(.authPasswordValidators) else { return .standard }
    do {
      // The names are read only if needed, so that commands for passwords work although those settings are wrong.
      return try PasswordValidatorList(json: json) { SiteWords(from: &reader) }
    } catch {
      reader.addError(.authPasswordValidators, error.message, kind: error.kind)
      return .standard
    }
  }
}
