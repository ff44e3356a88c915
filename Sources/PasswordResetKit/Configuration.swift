import Credentials
public import Foundation
public import HTTPAPI
public import Localization
import Mail
public import PasswordReset
public import Prometheus

extension PasswordResetKit {
  /// What a password reset needs to know. The comments name the setting of the stand-alone service with the same meaning, which
  /// docs/configuration.md describes. Times are in seconds.
  public struct Configuration: Sendable {
    /// `SECRET_KEY`: signs tokens, and hashes the addresses in the audit. Links stay valid only as long as it stays the same.
    public var secretKey: String
    /// `SECRET_KEY_FALLBACKS`: former keys. Links that were signed with them are still valid.
    public var secretKeyFallbacks: [String] = []
    /// `RESET_URL`: the page that the links in emails lead to.
    public var resetURL: ResetURL
    /// `CANCEL_URL`: the page on which a user cancels all reset links, or `nil` for emails without a link to one.
    public var cancelURL: ResetURL?
    /// `PASSWORD_RESET_TIMEOUT`: how long a link is valid.
    public var linkLifetime = 3600
    /// `TIME_ZONE`, which dates the tokens. A Django site on the same table must have the same one.
    public var timeZone = TimeZone.gmt
    /// The languages of responses and emails.
    public var languages: Languages
    /// Composes the emails.
    public var composer: any EmailComposer
    /// `EMAIL_PASSWORD_CHANGED`: whether the user gets an email after a password change.
    public var notifiesOfChange = true
    /// How emails are sent and retried.
    public var outbox = OutboxPolicy()
    /// `WEBHOOK_URL` and `WEBHOOK_SECRET`: sends the webhooks, or `nil` if no receiver is configured.
    public var webhookBackend: (any WebhookBackend)?
    /// `WEBHOOK_EVENTS`: the events that are reported by webhooks.
    public var webhookEvents: Set<WebhookEvent> = []
    /// `PASSWORD_HASHER`, `PASSWORD_FORMAT` and `AUTH_PASSWORD_VALIDATORS`: Django's defaults.
    public var passwords = PasswordPolicy(hashers: PasswordHashers(), validators: defaultPasswordValidators())
    /// `PASSWORD_HASHER_CONCURRENCY`: how many passwords are hashed at once.
    public var hashingSlots = ProcessInfo.processInfo.activeProcessorCount
    /// `AUDIT_DAYS`: how long audit records are kept.
    public var auditLifetime: TimeInterval = 90 * 86400
    /// `RATE_LIMIT_REQUESTS` and `RATE_LIMIT_LINKS`: limits for each client.
    public var requestLimits = [RateLimit(count: 20, seconds: 60)]
    public var linkLimits = [RateLimit(count: 60, seconds: 60)]
    /// `TRUSTED_PROXIES`: whose `X-Forwarded-For` names the client.
    public var trustedProxies = TrustedProxies.none
    /// `CORS_ALLOWED_ORIGINS`, `CORS_ALLOWED_HEADERS` and `CORS_ALLOW_CREDENTIALS`: the origins of pages that may call the interface.
    public var allowedOrigins = AllowedOrigins.none
    /// Collects the metrics.
    public var registry = Registry()
    /// Returns the current time.
    public var now: @Sendable () -> Date = { Date() }

    /// Creates a configuration with the defaults of the stand-alone service.
    public init(secretKey: String, resetURL: ResetURL, languages: Languages, composer: any EmailComposer) {
      self.secretKey = secretKey
      self.resetURL = resetURL
      self.languages = languages
      self.composer = composer
      outbox.emailLimits = [RateLimit(count: 1, seconds: 60), RateLimit(count: 5, seconds: 3600)]
    }

    /// Creates a configuration with the defaults of the stand-alone service, and with its emails.
    /// - Parameters:
    ///   - siteName: `SITE_NAME`, which the emails mention.
    ///   - sender: `DEFAULT_FROM_EMAIL`, such as `Example <noreply@example.com>`.
    /// - Throws: ``Languages/Invalid`` or ``MailTemplates/Invalid``.
    public init(secretKey: String, resetURL: ResetURL, siteName: String, sender: String) throws {
      let languages = try Languages()
      let templates = try MailTemplates(languages: languages, siteName: siteName, sender: sender)
      self.init(secretKey: secretKey, resetURL: resetURL, languages: languages, composer: templates)
    }
  }
}
