import Foundation
import HTTPAPI
import Logging
import Mail
import PasswordReset
import SQLiteStore

/// What `password-reset check` looks at, beside the faults that reading the settings finds.
enum Checks {
  /// What may be meant so, but seldom is.
  static func ofSettings(_ settings: Settings) -> [Finding] {
    settings.warnings + ofSecrets(settings) + ofMail(settings) + ofEdge(settings)
  }

  private static func ofSecrets(_ settings: Settings) -> [Finding] {
    var findings: [Finding] = []
    let key = settings.secretKey
    // Django's security.W009.
    if key.unicodeScalars.count < 50 || Set(key.unicodeScalars).count < 5 || key.hasPrefix("django-insecure-") {
      findings.append(
        Finding(
          .weakSecretKey, "SECRET_KEY has fewer than 50 characters, fewer than 5 different ones, or begins with django-insecure-",
          hint: "Make one with `openssl rand -base64 48`; keep the old one in SECRET_KEY_FALLBACKS until the links made with it have run out."))
    }
    var files = settings.secretFiles + [(SettingName.databaseURL.rawValue, settings.databasePath)]
    for name in [SettingName.httpSSLKeyfile, .emailSSLKeyfile, .emailOAuth2TokenFile] {
      if let path = settings.effective[name]?.value { files.append((name.rawValue, path)) }
    }
    findings += files.filter { isReadableByOthers($0.path) }.map { name, path in
      Finding(.readableSecret, "\(name) names a file that every user of this machine can read", hint: "chmod o-rwx \(path)")
    }
    if settings.passwordResetTimeout > 86400 {
      findings.append(Finding(.longTimeout, "PASSWORD_RESET_TIMEOUT is over a day; a link in an old mail is a risk"))
    }
    return findings
  }

  private static func isReadableByOthers(_ path: String) -> Bool {
    let target = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    // One that is not there is nobody's to read.
    guard FileManager.default.fileExists(atPath: target) else { return false }
    // Nor can anybody read what cannot even be looked at.
    let attributes = try? FileManager.default.attributesOfItem(atPath: target)
    return (attributes?[.posixPermissions] as? Int ?? 0) & 0o004 != 0
  }

  private static func ofMail(_ settings: Settings) -> [Finding] {
    let backend = settings.email.backend
    guard [.smtp, .sendmail].contains(backend) else {
      return [Finding(.noMailSent, "EMAIL_BACKEND=\(backend.rawValue) sends no mail to anybody", hint: "Set EMAIL_BACKEND=smtp and EMAIL_HOST.")]
    }
    var findings: [Finding] = []
    if settings.email.smtp.security == .none, settings.email.smtp.username != nil, backend == .smtp {
      findings.append(
        Finding(.loginInTheClear, "the login at EMAIL_HOST travels in the clear", hint: "Set EMAIL_USE_TLS or EMAIL_USE_SSL."))
    }
    if settings.email.sender == SettingName.defaultFromEmail.usual {
      findings.append(Finding(.usualSender, "DEFAULT_FROM_EMAIL is webmaster@localhost, which mail servers refuse"))
    }
    if settings.resetURL.isLocal {
      findings.append(
        Finding(.localLink, "RESET_URL leads to this machine, where whoever gets the mail is not", hint: "Name the page of your frontend."))
    }
    return findings
  }

  private static func ofEdge(_ settings: Settings) -> [Finding] {
    var findings: [Finding] = []
    let edge = settings.edge
    if edge.allowedOrigins.hasPlainOriginElsewhere {
      findings.append(
        Finding(.plainOrigin, "CORS_ALLOWED_ORIGINS has an http origin on another machine; whoever is between can read and change its pages"))
    }
    let limits: [(SettingName, [RateLimit])] = [
      (.rateLimitRequests, edge.requestLimits), (.rateLimitLinks, edge.linkLimits), (.rateLimitMails, edge.mailLimits),
    ]
    findings += limits.filter { $0.1.isEmpty }.map { name, _ in Finding(.noRateLimit, "\(name.rawValue) is off: nothing bounds a flood") }
    if !Settings.isOfThisMachine(settings.httpHost), edge.certificate == nil, edge.trustedProxies == .none {
      findings.append(
        Finding(
          .noTrustedProxies, "HTTP_HOST can be reached from other machines, in the clear, and TRUSTED_PROXIES names no proxy",
          hint: "Name the proxy in front, or all clients share one limit; without one, set HTTP_SSL_CERTFILE."))
    }
    if !Settings.isOfThisMachine(settings.adminHost) {
      findings.append(
        Finding(
          .openAdminListener, "ADMIN_HOST can be reached from other machines; metrics have no login",
          hint: "See to it that only your monitoring can connect."))
    }
    return findings
  }

  /// Of the database, without changing anything in it.
  /// - Parameter isThorough: whether all of it is read.
  static func ofDatabase(path: String, isThorough: Bool) -> [Finding] {
    let target = URL(fileURLWithPath: path).resolvingSymlinksInPath()
    guard FileManager.default.fileExists(atPath: target.path) else {
      let folder = target.deletingLastPathComponent().path
      guard FileManager.default.isWritableFile(atPath: folder) else {
        return [Finding(.unusableDatabase, "DATABASE_URL names a folder that is not there, or in which no file can be made")]
      }
      return [Finding(.noDatabase, "there is no database yet", hint: "`password-reset migrate` or the first start makes it.")]
    }
    do {
      try SQLiteStore.checkWritable(path: path)
      let hasPending = try SQLiteStore.inspect(path: path, isThorough: isThorough)
      let hint = "`password-reset migrate` or the next start applies them; `password-reset backup` before."
      return hasPending ? [Finding(.pendingMigrations, "the database has migrations pending", hint: hint)] : []
    } catch {
      return [Finding(error)]
    }
  }

  /// Of the certificate and its key.
  static func ofCertificate(_ settings: Settings) -> [Finding] {
    do {
      _ = try settings.edge.loadCertificate(logger: Logger(label: "check") { _ in SwiftLogNoOpLogHandler() })
      return []
    } catch {
      return error.findings
    }
  }

  /// Of the way to the mail server: connects and logs in, and sends nothing.
  static func ofMailServer(_ settings: Settings) async -> [Finding] {
    guard settings.email.backend == .smtp else { return [] }
    do {
      try await SMTPBackend(settings.email.smtp).connect()
      return []
    } catch {
      return [Finding(.unusableMailServer, "EMAIL_HOST cannot be used: \(error.reason)")]
    }
  }
}

extension Finding {
  /// A database that cannot be used.
  init(_ error: StoreOpenError) {
    let kind: Kind =
      switch error {
      case .cannotOpen, .notWritable, .unreadableSchema, .unsafeSetting: .unusableDatabase
      case .locked: .lockedDatabase
      case .unfinished: .unfinishedTransaction
      case .damaged: .damagedDatabase
      case .newerSchema: .newerSchema
      case .foreignUserTable, .unusableUserTable, .missingUserTable: .foreignUserTable
      case .oldSQLite: .oldSQLite
      }
    self.init(kind, "\(error)")
  }
}
