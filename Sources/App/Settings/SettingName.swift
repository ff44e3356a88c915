/// Every setting, with its name in the environment. `docs/configuration.md` describes each of them.
enum SettingName: String, CaseIterable {
  case config = "PASSWORD_RESET_CONFIG"
  case httpHost = "HTTP_HOST"
  case httpPort = "HTTP_PORT"
  case httpSSLCertfile = "HTTP_SSL_CERTFILE"
  case httpSSLKeyfile = "HTTP_SSL_KEYFILE"
  case trustedProxies = "TRUSTED_PROXIES"
  case corsAllowedOrigins = "CORS_ALLOWED_ORIGINS"
  case corsAllowedHeaders = "CORS_ALLOWED_HEADERS"
  case corsAllowCredentials = "CORS_ALLOW_CREDENTIALS"
  case adminHost = "ADMIN_HOST"
  case adminPort = "ADMIN_PORT"
  case databaseURL = "DATABASE_URL"
  case databasePassword = "DATABASE_PASSWORD"
  case usersTable = "USERS_TABLE"
  case usersColumns = "USERS_COLUMNS"
  case allauth = "ALLAUTH"
  case afterReset = "AFTER_RESET"
  case secretKey = "SECRET_KEY"
  case secretKeyFallbacks = "SECRET_KEY_FALLBACKS"
  case passwordResetTimeout = "PASSWORD_RESET_TIMEOUT"
  case timeZone = "TIME_ZONE"
  case useTZ = "USE_TZ"
  case resetURL = "RESET_URL"
  case cancelURL = "CANCEL_URL"
  case siteName = "SITE_NAME"
  case languageCode = "LANGUAGE_CODE"
  case defaultFromEmail = "DEFAULT_FROM_EMAIL"
  case emailBackend = "EMAIL_BACKEND"
  case emailHost = "EMAIL_HOST"
  case emailPort = "EMAIL_PORT"
  case emailHostUser = "EMAIL_HOST_USER"
  case emailHostPassword = "EMAIL_HOST_PASSWORD"
  case emailOAuth2TokenFile = "EMAIL_OAUTH2_TOKEN_FILE"
  case emailHeloName = "EMAIL_HELO_NAME"
  case emailUseTLS = "EMAIL_USE_TLS"
  case emailUseSSL = "EMAIL_USE_SSL"
  case emailTimeout = "EMAIL_TIMEOUT"
  case emailSSLCertfile = "EMAIL_SSL_CERTFILE"
  case emailSSLKeyfile = "EMAIL_SSL_KEYFILE"
  case emailFilePath = "EMAIL_FILE_PATH"
  case emailSendmailCommand = "EMAIL_SENDMAIL_COMMAND"
  case emailConnections = "EMAIL_CONNECTIONS"
  case emailRateLimit = "EMAIL_RATE_LIMIT"
  case emailTemplatesDir = "EMAIL_TEMPLATES_DIR"
  case emailExtraContext = "EMAIL_EXTRA_CONTEXT"
  case emailPasswordChanged = "EMAIL_PASSWORD_CHANGED"
  case emailAccountsPerRequest = "EMAIL_ACCOUNTS_PER_REQUEST"
  case emailDeadLetterDays = "EMAIL_DEAD_LETTER_DAYS"
  case webhookURL = "WEBHOOK_URL"
  case webhookSecret = "WEBHOOK_SECRET"
  case webhookEvents = "WEBHOOK_EVENTS"
  case webhookAllowedNetworks = "WEBHOOK_ALLOWED_NETWORKS"
  case auditDays = "AUDIT_DAYS"
  case passwordHasher = "PASSWORD_HASHER"
  case passwordHasherOptions = "PASSWORD_HASHER_OPTIONS"
  case passwordHasherConcurrency = "PASSWORD_HASHER_CONCURRENCY"
  case passwordFormat = "PASSWORD_FORMAT"
  case passwordFormatOptions = "PASSWORD_FORMAT_OPTIONS"
  case authPasswordValidators = "AUTH_PASSWORD_VALIDATORS"
  case rateLimitRequests = "RATE_LIMIT_REQUESTS"
  case rateLimitLinks = "RATE_LIMIT_LINKS"
  case rateLimitMails = "RATE_LIMIT_MAILS"
  case rateLimitMailsTotal = "RATE_LIMIT_MAILS_TOTAL"
  case logLevel = "LOG_LEVEL"
  case logFormat = "LOG_FORMAT"

  /// Whether the value is a secret. No output shows a secret, and ``fileVariable`` can name a file that contains it.
  var isSecret: Bool {
    switch self {
    case .databasePassword, .secretKey, .secretKeyFallbacks, .emailHostPassword, .webhookSecret: true
    default: false
    }
  }

  /// Returns the value as output may show it, without a secret in it.
  func shown(_ value: String) -> String {
    if isSecret { return "********" }
    return self == .databaseURL ? DatabaseLocation.shown(url: value) : value
  }

  /// Whether the value is JSON. The settings file can contain such a value as plain YAML.
  var isJSON: Bool { [.afterReset, .authPasswordValidators, .emailExtraContext, .usersColumns].contains(self) }

  /// The default value as text, or `nil` if the setting is required, optional, or has a default that depends on others.
  var defaultValue: String? {
    switch self {
    case .httpHost, .adminHost: "127.0.0.1"
    case .httpPort: "8080"
    case .adminPort: "8081"
    case .databaseURL: "sqlite:password-reset.sqlite3"
    case .usersTable: "auth_user"
    case .usersColumns: "{}"
    case .afterReset: "[]"
    case .passwordResetTimeout: "3600"
    case .timeZone: "UTC"
    case .siteName, .emailHost: "localhost"
    case .languageCode: "en"
    case .defaultFromEmail: "webmaster@localhost"
    case .allauth, .emailUseTLS, .emailUseSSL, .corsAllowCredentials: "false"
    case .emailTimeout, .emailDeadLetterDays: "30"
    case .emailSendmailCommand: "/usr/sbin/sendmail -i -f {sender} -- {recipient}"
    case .emailConnections: "4"
    case .emailRateLimit, .rateLimitMailsTotal: "off"
    case .emailPasswordChanged, .useTZ: "true"
    case .emailAccountsPerRequest: "10"
    case .webhookEvents:
      "password_reset.completed,password_reset.mail_failed,password_reset.link_printed,password_reset.cancelled"
    case .auditDays: "90"
    case .passwordHasher: "pbkdf2_sha256"
    case .passwordFormat: "django"
    case .rateLimitRequests: "20/m"
    case .rateLimitLinks: "60/m"
    case .rateLimitMails: "1/m,5/h"
    case .logLevel: "info"
    case .config, .httpSSLCertfile, .httpSSLKeyfile, .trustedProxies, .corsAllowedOrigins, .corsAllowedHeaders, .databasePassword, .secretKey,
      .secretKeyFallbacks, .resetURL, .cancelURL, .emailBackend, .emailPort, .emailHostUser, .emailHostPassword, .emailOAuth2TokenFile,
      .emailHeloName, .emailSSLCertfile, .emailSSLKeyfile, .emailFilePath, .emailTemplatesDir, .emailExtraContext, .webhookURL, .webhookSecret,
      .webhookAllowedNetworks, .passwordHasherOptions,
      .passwordHasherConcurrency, .passwordFormatOptions, .authPasswordValidators, .logFormat:
      nil
    }
  }

  /// The default value with `serve --dev`, or `nil` if it is the same as without.
  var developmentDefault: String? {
    switch self {
    case .emailBackend: "console"
    case .rateLimitRequests, .rateLimitLinks, .rateLimitMails: "off"
    case .logFormat: "text"
    default: nil
    }
  }

  /// Whether the value is a port.
  var isPort: Bool { [.httpPort, .adminPort, .emailPort].contains(self) }

  /// The variable that names a file with the secret: `SECRET_KEY_FILE`.
  var fileVariable: String { rawValue + "_FILE" }

  /// The names of all variables that the service reads.
  static let variables = Set(allCases.map(\.rawValue) + allCases.filter(\.isSecret).map(\.fileVariable))

  /// The prefixes of the service's variables. An unknown name with such a prefix is an error, because a misspelled
  /// setting would otherwise have no effect and no one would notice.
  private static let prefixes = [
    "EMAIL_", "PASSWORD_RESET_", "PASSWORD_HASHER", "PASSWORD_FORMAT", "AUTH_PASSWORD_", "RATE_LIMIT_", "SECRET_KEY", "RESET_URL", "CANCEL_URL",
    "CORS_",
    "TRUSTED_PROXIES",
    "HTTP_SSL_", "AUDIT_DAYS", "AFTER_RESET",
  ]

  /// Settings of Django, django-environ and django-cors-headers that begin like the service's, and that the service does
  /// not use. The environment may be shared with a site.
  static let ofDjango: Set = [
    "EMAIL_SUBJECT_PREFIX", "EMAIL_USE_LOCALTIME", "EMAIL_URL", "EMAIL_CONFIG", "PASSWORD_HASHERS", "PASSWORD_RESET_TIMEOUT_DAYS",
    "CORS_ALLOW_ALL_ORIGINS", "CORS_ALLOWED_ORIGIN_REGEXES", "CORS_ALLOW_HEADERS", "CORS_ALLOW_METHODS", "CORS_ALLOW_PRIVATE_NETWORK",
    "CORS_EXPOSE_HEADERS", "CORS_MODEL", "CORS_ORIGIN_ALLOW_ALL", "CORS_ORIGIN_REGEX_WHITELIST", "CORS_ORIGIN_WHITELIST", "CORS_PREFLIGHT_MAX_AGE",
    "CORS_REPLACE_HTTPS_REFERER", "CORS_URLS_REGEX",
  ]

  /// Returns the unknown names in `environment` that begin like the service's variables, sorted.
  static func unknownVariables(in environment: [String: String]) -> [String] {
    environment.filter { name, value in
      !variables.contains(name) && prefixes.contains { name.hasPrefix($0) } && !ofDjango.contains(name) && !isSetByKubernetes(name, value)
    }.keys.sorted()
  }

  /// Whether Kubernetes set the variable. It adds such variables to every pod for each service of the namespace, so a
  /// service named `password-reset` leads to names that begin like ours.
  private static func isSetByKubernetes(_ name: String, _ value: String) -> Bool {
    name.contains(/_SERVICE_(HOST|PORT)(_|$)|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/)
      || name.hasSuffix("_PORT") && isAddressOfService(value)
  }

  /// Whether the value is the address of a service as Kubernetes writes it: `tcp://10.96.0.7:25`.
  static func isAddressOfService(_ value: String) -> Bool { ["tcp://", "udp://", "sctp://"].contains { value.hasPrefix($0) } }
}
