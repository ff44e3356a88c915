public import Credentials
public import Logging
public import PasswordReset
public import Prometheus
public import Text

/// Refuses a password that has leaked.
public struct PwnedPasswordsValidator: PasswordLookup {
  /// The decision about a password that no source could check.
  public enum FailurePolicy: String, Sendable, CaseIterable {
    /// The password is accepted.
    case accept
    /// The password is refused with an error that asks to try again.
    case refuse
  }

  /// The texts of the operator, which are shown in all languages, instead of the translated ones.
  public struct Texts: Sendable {
    /// The message of the error.
    public var error: String?
    /// The sentence that explains the rule.
    public var help: String?

    /// Creates texts.
    public init(error: String? = nil, help: String? = nil) { (self.error, self.help) = (error, help) }
  }

  static let unchecked = FieldError(
    code: "password_not_checked", LocalizableMessage("This password could not be checked. Please try again in a few minutes."))

  public let helpText: LocalizableMessage
  private let pwned: FieldError
  private let sources: [any PwnedPasswordSource]
  private let failurePolicy: FailurePolicy
  private let checks: Counter
  private let uncheckedPasswords: Counter
  private let logger: Logger

  /// Creates a validator.
  /// - Parameters:
  ///   - sources: The sources to ask. Each is asked only if those before it have failed.
  ///   - failurePolicy: The decision about a password that no source could check.
  ///   - registry: Counts the checks.
  ///   - logger: Records each failure of a source.
  public init(
    sources: [any PwnedPasswordSource], failurePolicy: FailurePolicy = .accept, texts: Texts = Texts(), registry: Registry, logger: Logger
  ) {
    self.sources = sources
    self.failurePolicy = failurePolicy
    self.logger = logger
    pwned = FieldError(
      code: "password_pwned",
      texts.error.map { LocalizableMessage($0) } ?? LocalizableMessage("This password has appeared in a data breach. Please choose another one."))
    helpText = texts.help.map { LocalizableMessage($0) } ?? LocalizableMessage("Your password can’t be one that has appeared in a data breach.")
    checks = registry.counter(
      "password_reset_pwned_checks_total", "New passwords that a source of leaked passwords was asked about, by its answer.",
      labels: ["source", "result"], known: sources.flatMap { source in ["pwned", "clean", "failed"].map { [source.name, $0] } })
    uncheckedPasswords = registry.counter(
      "password_reset_pwned_unchecked_total", "New passwords that no source of leaked passwords could check, by what on_failure decided.",
      labels: ["decision"], known: FailurePolicy.allCases.map { [$0.rawValue] })
  }

  public func validate(_ password: String, user: UserAttributes) async -> FieldError? {
    let hash = SHA1Hash(of: password)
    for source in sources {
      do {
        let isPwned = try await source.contains(hash)
        checks.increment(source.name, isPwned ? "pwned" : "clean")
        return isPwned ? pwned : nil
      } catch {
        checks.increment(source.name, "failed")
        logger.warning("A new password could not be compared with leaked ones", metadata: ["source": "\(source.name)", "reason": "\(error)"])
      }
    }
    uncheckedPasswords.increment(failurePolicy.rawValue)
    logger.error("A new password was not checked", metadata: ["decision": "\(failurePolicy.rawValue)"])
    return failurePolicy == .accept ? nil : Self.unchecked
  }
}
