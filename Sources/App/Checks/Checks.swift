import ConnectionGuards
import Foundation
import HTTPAPI
import Logging
import Mail
import PasswordReset
import PwnedPasswords
import Webhooks

/// What `password-reset check` looks for, in addition to the errors that reading the settings finds.
enum Checks {
  /// Returns warnings about settings that are valid but rarely intended.
  static func ofSettings(_ settings: Settings) -> [Finding] {
    settings.warnings + ofSecrets(settings) + ofMail(settings.mail) + ofWebhook(settings.webhook) + ofLinks(settings.links, settings.mail)
      + ofRateLimits(settings) + ofHTTP(settings.http) + ofPwnedPasswords(settings.passwords.rules.pwned, at: Date())
  }

  private static func ofSecrets(_ settings: Settings) -> [Finding] {
    var findings: [Finding] = []
    let key = settings.tokens.secretKey
    // The conditions of Django's security.W009.
    if key.unicodeScalars.count < 50 || Set(key.unicodeScalars).count < 5 || key.hasPrefix("django-insecure-") {
      let message = "SECRET_KEY is weak: it has fewer than 50 characters or fewer than 5 different ones, or begins with django-insecure-."
      let hint = """
        Generate one with `openssl rand -base64 48`. Keep the old one in SECRET_KEY_FALLBACKS until the links that were made with it have expired.
        """
      findings.append(Finding(.weakSecretKey, message, hint: hint))
    }
    var files = settings.secretFiles
    if let path = settings.database.path { files.append((SettingName.databaseURL.rawValue, path)) }
    for name in [SettingName.httpSSLKeyfile, .emailSSLKeyfile, .emailOAuth2TokenFile] {
      if let path = settings.effective[name]?.value { files.append((name.rawValue, path)) }
    }
    findings += files.filter { isReadableByOthers($0.path) }.map { name, path in
      Finding(.readableSecret, "\(name) names a file that every user of this machine can read.", hint: "Run `chmod o-rwx \(path)`.")
    }
    return findings
  }

  private static func isReadableByOthers(_ path: String) -> Bool {
    let target = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    // If this user may not even look up the file, other users cannot read it either.
    let attributes = try? FileManager.default.attributesOfItem(atPath: target)
    return (attributes?[.posixPermissions] as? Int ?? 0) & 0o004 != 0
  }

  private static func ofMail(_ mail: MailSettings) -> [Finding] {
    let backend = mail.backend
    guard [.smtp, .sendmail].contains(backend) else {
      let message = "EMAIL_BACKEND=\(backend.rawValue) does not send email to anyone."
      return [Finding(.noMailSent, message, hint: "Set EMAIL_BACKEND=smtp and EMAIL_HOST.")]
    }
    var findings: [Finding] = []
    if !mail.unusedSettings.isEmpty {
      let names = SettingName.allCases.filter(mail.unusedSettings.contains).map(\.rawValue).joined(separator: ", ")
      let message = "EMAIL_BACKEND=\(backend.rawValue) does not use these settings, which have no effect: \(names)."
      findings.append(Finding(.unusedSetting, message, hint: "Unset them, or change EMAIL_BACKEND."))
    }
    if mail.smtp.security == .none, mail.smtp.username != nil, backend == .smtp {
      findings.append(
        Finding(
          .unencryptedSignIn, "EMAIL_HOST_PASSWORD or the access token is sent unencrypted.", hint: "Set EMAIL_USE_TLS=true or EMAIL_USE_SSL=true."))
    }
    if mail.content.sender == SettingName.defaultFromEmail.defaultValue {
      let message = "DEFAULT_FROM_EMAIL is webmaster@localhost, which mail servers refuse."
      findings.append(Finding(.defaultSender, message, hint: "Set it to an address in your domain."))
    }
    return findings
  }

  private static func ofWebhook(_ webhook: WebhookSettings) -> [Finding] {
    var findings: [Finding] = []
    if !webhook.unusedSettings.isEmpty {
      let message = "WEBHOOK_URL is not set, so these settings have no effect: \(webhook.unusedSettings.map(\.rawValue).joined(separator: ", "))."
      findings.append(Finding(.unusedSetting, message, hint: "Set WEBHOOK_URL, or unset them."))
    }
    if webhook.allowsEveryone {
      let message = "WEBHOOK_ALLOWED_NETWORKS has a network so large that webhooks could reach any service in your network."
      findings.append(Finding(.wideWebhookNetworks, message, hint: "Name only the address of the receiver, or its network."))
    }
    if webhook.endpoint?.isPlain == true {
      let message = "WEBHOOK_URL has no TLS, so any program on this machine that takes the receiver's port gets the webhooks."
      findings.append(Finding(.plainWebhook, message, hint: "Use https, or run no other people's programs on this machine."))
    }
    return findings
  }

  private static func ofPwnedPasswords(_ options: PwnedPasswordsOptions?, at now: Date) -> [Finding] {
    // Reading the settings reports a file that cannot be read. Here it has no age.
    guard let path = options?.path, let attributes = try? FileManager.default.attributesOfItem(atPath: path),
      let date = attributes[.modificationDate] as? Date, now.timeIntervalSince(date) > 365 * 86400
    else { return [] }
    let message = "AUTH_PASSWORD_VALIDATORS names a file of leaked passwords that is more than a year old."
    return [Finding(.oldPwnedFile, message, hint: "Download the list again, and run `password-reset pwned build`.")]
  }

  /// Asks the API of leaked passwords, if the settings name one.
  static func ofPwnedAPI(_ options: PwnedPasswordsOptions?) async -> [Finding] {
    guard let api = options?.api else { return [] }
    do {
      _ = try await api.contains(SHA1Hash(of: "password"))
      return []
    } catch {
      let message = "AUTH_PASSWORD_VALIDATORS names an API of leaked passwords that does not answer: \(error)."
      return [Finding(.unusablePwnedAPI, message, hint: "Check the URL and the firewall; on_failure decides about passwords meanwhile.")]
    }
  }

  private static func ofRateLimits(_ settings: Settings) -> [Finding] {
    let limits = [
      (SettingName.rateLimitRequests, settings.http.requestLimits), (.rateLimitLinks, settings.http.linkLimits),
      (.rateLimitMails, settings.mail.addressLimits),
    ]
    return limits.filter(\.1.isEmpty).map { name, _ in
      Finding(.noRateLimit, "\(name.rawValue) is off, so nothing limits a flood of requests.", hint: "Set it, unless a proxy limits requests.")
    }
  }

  private static func ofLinks(_ links: LinkSettings, _ mail: MailSettings) -> [Finding] {
    var findings: [Finding] = []
    if links.timeout > 86400 {
      let message = "PASSWORD_RESET_TIMEOUT is longer than a day."
      findings.append(Finding(.longTimeout, message, hint: "Shorten it: a valid link in an old email is a risk."))
    }
    let urls: [(SettingName, ResetURL?)] = [(.resetURL, links.resetURL), (.cancelURL, links.cancelURL)]
    for (name, url) in urls where url?.isLocal == true && [.smtp, .sendmail].contains(mail.backend) {
      let message = "\(name.rawValue) leads to this machine, which people who read the email cannot reach."
      findings.append(Finding(.localLink, message, hint: "Set it to the page of your frontend."))
    }
    return findings
  }

  private static func ofHTTP(_ http: HTTPSettings) -> [Finding] {
    var findings: [Finding] = []
    if http.allowedOrigins.hasPlainOriginElsewhere {
      let message = "CORS_ALLOWED_ORIGINS has an http origin on another machine, whose pages an attacker on the network can change."
      findings.append(Finding(.plainOrigin, message, hint: "Use its https origin."))
    }
    if !HTTPSettings.isLoopback(http.host), http.certificate == nil, http.trustedProxies == .none {
      let message = "HTTP_HOST can be reached from other machines without TLS, and TRUSTED_PROXIES names no proxy."
      let hint = "Name the proxy in front of the service; otherwise all clients share one rate limit. Without a proxy, set HTTP_SSL_CERTFILE."
      findings.append(Finding(.noTrustedProxies, message, hint: hint))
    }
    if http.trustedProxies.coverEveryone {
      let message =
        "TRUSTED_PROXIES has a network that covers a large part of the Internet, so that every client can choose the address that limits it."
      findings.append(Finding(.trustsEveryone, message, hint: "Name only the addresses of the proxies."))
    }
    if !HTTPSettings.isLoopback(http.adminHost) {
      let message = "ADMIN_HOST can be reached from other machines, and metrics have no authentication."
      findings.append(Finding(.openAdminListener, message, hint: "Let only your monitoring connect to it."))
    }
    return findings
  }

  /// Checks the whole database without changing it.
  /// - Returns: the findings, and how the users table holds the users if it can be used.
  static func ofDatabase(_ database: DatabaseSettings) -> (findings: [Finding], users: UserMapping?) {
    if let path = database.path, let finding = ofMissingFile(path) {
      guard finding.kind == .noDatabase, !database.users.mayBeCreated else { return ([finding], nil) }
      return ([Finding(.missingUserTable(database.users.name, candidates: [], djangoTable: nil))], nil)
    }
    do {
      let condition = try unopenedDatabase(database).inspect(isThorough: true)
      return (findings(condition, isFile: database.path != nil), condition.users)
    } catch {
      return ([Finding(error)], nil)
    }
  }

  /// Returns a finding if there is no database file.
  private static func ofMissingFile(_ path: String) -> Finding? {
    let target = URL(fileURLWithPath: path).resolvingSymlinksInPath()
    guard !FileManager.default.fileExists(atPath: target.path) else { return nil }
    let folder = target.deletingLastPathComponent().path
    guard canCreateFiles(in: folder) else {
      let message = "DATABASE_URL names a directory that does not exist or in which no file can be created: \(folder)."
      return Finding(.unusableDatabase, message, hint: "Check the path, and whether this user may write to the directory.")
    }
    let hint = "`password-reset migrate` or the first start creates it. If there should be one, check DATABASE_URL."
    return Finding(.noDatabase, "There is no database yet.", hint: hint)
  }

  private static func findings(_ condition: DatabaseCondition, isFile: Bool) -> [Finding] {
    var findings: [Finding] = []
    if condition.hasPendingMigrations {
      let hint = "Run `\(isFile ? "password-reset backup" : "pg_dump")`, then `password-reset migrate`. The next start also applies them."
      findings.append(Finding(.pendingMigrations, "The database has pending migrations.", hint: hint))
    }
    if condition.damagedUsers > 0 {
      let message =
        "Django cannot read \(counted(condition.damagedUsers, "row")) of \(condition.users?.table ?? "the users table"); these users cannot sign in, and get no email."
      findings.append(Finding(.damagedUsers, message, hint: "`password-reset users list` names them."))
    }
    if condition.hasAllauth, condition.users?.usesAllauth != true {
      let message = "The site uses django-allauth: its reset links are invalid here, and the service's are invalid there."
      findings.append(Finding(.allauth, message, hint: "Set ALLAUTH=true, or use one of the two for resets; see docs/allauth.md."))
    }
    return findings + condition.risks.map(Finding.init)
  }

  /// Checks the certificate and its key.
  static func ofCertificate(_ http: HTTPSettings) -> [Finding] {
    do {
      _ = try http.loadCertificate(logger: Logger(label: "check") { _ in SwiftLogNoOpLogHandler() })
      return []
    } catch {
      return error.findings
    }
  }

  /// Checks whether the service could write emails to files, without creating the directory.
  static func ofMailFolder(_ mail: MailSettings) -> [Finding] {
    guard mail.backend == .file, let path = mail.directory else { return [] }
    var isFolder: ObjCBool = false
    var folder = URL(fileURLWithPath: path)
    // The service creates missing directories, so the first one that exists counts.
    while !FileManager.default.fileExists(atPath: folder.path, isDirectory: &isFolder), folder.path != "/" { folder.deleteLastPathComponent() }
    if isFolder.boolValue, canCreateFiles(in: folder.path) { return [] }
    return [Finding(.unwritableFolder, MailSettings.folderMessage, setting: .emailFilePath)]
  }

  /// Whether this process could create a file in the folder, without trying it.
  private static func canCreateFiles(in folder: String) -> Bool {
    // For root, the system calls these writable, but no one can create a file there.
    let isVirtual = ["/proc", "/sys"].contains { folder == $0 || folder.hasPrefix($0 + "/") }
    return !isVirtual && access(folder, W_OK | X_OK) == 0
  }

  /// Checks whether the listeners can use their addresses, on a port that the system chooses.
  static func ofListeners(_ http: HTTPSettings) -> [Finding] {
    [(SettingName.httpHost, http.host), (.adminHost, http.adminHost)].filter { !canListen(on: $1) }.map { name, _ in
      let message = "\(name.rawValue) is a name that is not known at the moment, or an address that this machine does not have."
      return Finding(.unavailableAddress, message, hint: "Correct it, or use * for all addresses.", setting: name)
    }
  }

  private static func canListen(on host: String) -> Bool {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var addresses: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, "0", &hints, &addresses) == 0, let first = addresses?.pointee else { return false }
    defer { freeaddrinfo(addresses) }
    let descriptor = socket(first.ai_family, first.ai_socktype, first.ai_protocol)
    defer { close(descriptor) }
    return bind(descriptor, first.ai_addr, first.ai_addrlen) == 0
  }

  /// Checks whether the process may open enough files.
  static func ofProcess() -> [Finding] {
    DescriptorLimit.raise()
    if ConnectionCount.limit(forDescriptors: DescriptorLimit.current) != nil { return [] }
    return [Finding(.tooFewFiles, DescriptorLimit.message)]
  }

  /// Connects to the mail server, signs in, and asks whether it would take an email. Sends none.
  static func ofMailServer(_ settings: Settings) async -> [Finding] {
    guard settings.mail.backend == .smtp else { return [] }
    do {
      try await SMTPBackend(settings.mail.smtp).check(sender: settings.mail.content.sender)
      return []
    } catch {
      return [Finding(.unusableMailServer, "EMAIL_HOST names a mail server that cannot be used: \(error.reason)")]
    }
  }
}

extension Finding {
  /// Creates a finding about a database that cannot be used.
  init(_ error: StoreOpenError) {
    let kind: Kind =
      switch error.kind {
      case .unusable: .unusableDatabase
      case .unreachable: .unreachableDatabase
      case .sharedConnections: .sharedConnections
      case .missingPrivilege: .missingPrivilege
      case .locked: .lockedDatabase
      case .unfinishedTransaction: .unfinishedTransaction
      case .damaged: .damagedDatabase
      case .newerSchema: .newerSchema
      case .foreignUserTable: .foreignUserTable
      case .missingAddressTable: .missingAddressTable
      case .unusableAfterReset: .unusableAfterReset
      case .failingAfterReset: .failingAfterReset
      case .outdatedLibrary: .oldSQLite
      }
    self.init(kind, "\(error)")
  }

  /// Creates a finding about a database that can be used.
  init(_ risk: DatabaseRisk) {
    let kind: Kind =
      switch risk.kind {
      case .missingEmailIndex: .missingEmailIndex
      case .unsafeServer: .unsafeDatabaseServer
      case .readOnly: .readOnlyDatabase
      case .excessivePrivileges: .excessivePrivileges
      case .clockDifference: .clockDifference
      case .unendedTokens: .unendedTokens
      }
    self.init(kind, risk.message, hint: risk.hint)
  }
}
