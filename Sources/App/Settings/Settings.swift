import Credentials
import Foundation
import Localization
import Logging
import Mail
import PasswordReset

/// The configuration of the service: a value, read once.
struct Settings: Sendable {
  /// Whether it was started with `--dev`.
  var isDevelopment: Bool
  var httpHost: String
  var httpPort: Int
  /// The listener that only this machine may ask.
  var adminHost: String
  var adminPort: Int
  var databasePath: String
  var secretKey: String
  var secretKeyFallbacks: [String]
  /// Seconds.
  var passwordResetTimeout: Int
  var timeZone: TimeZone
  var resetURL: ResetURL
  var languages: Languages
  var templates: MailTemplates
  var siteName: String
  var email: EmailSettings
  var edge: EdgeSettings
  var passwordHasher: any PasswordHasher
  /// How many passwords are hashed at once.
  var passwordHasherConcurrency: Int
  var passwordRules: PasswordPolicySettings
  /// How long a line of the audit is kept.
  var auditDays: Int
  var log: LogSettings
  /// What reads the languages and the templates anew.
  var wording: MailContentSettings
  /// The files that hold secrets, with the setting that names each.
  var secretFiles: [(name: String, path: String)]
  /// Values that are used, although their form suggests that they are not meant so.
  var warnings: [Finding]
  /// Every setting as it is in force, without secrets.
  var effective: [SettingName: EffectiveSetting]

  /// Throws ``SettingsError``, which names every setting at fault.
  /// - Parameters:
  ///   - dev: take development's defaults for what is not set: a kept secret key, mails to the terminal, no limits.
  ///   - keepsKey: whether a secret key that is made for development is kept.
  init(environment: [String: String], dev: Bool = false, keepsKey: Bool = true) throws(SettingsError) {
    var reader = SettingsReader(environment: environment, dev: dev)
    isDevelopment = dev
    (httpHost, httpPort) = Self.address(&reader)
    adminHost = reader.defaultText(.adminHost)
    adminPort = reader.integer(.adminPort, in: 0...65535)
    databasePath = Self.databasePath(&reader)
    secretKey = Self.secretKey(&reader, database: databasePath, keepsKey: keepsKey)
    secretKeyFallbacks = Self.secretKeyFallbacks(&reader)
    passwordResetTimeout = Self.passwordResetTimeout(&reader)
    timeZone = Self.timeZone(&reader)
    resetURL = Self.resetURL(&reader, port: httpPort)
    let wording = MailContentSettings(&reader, timeZone: timeZone)
    siteName = wording.siteName
    email = EmailSettings(&reader, sender: wording.sender)
    if dev, email.backend == .memory, !Self.isOfThisMachine(adminHost) {
      reader.fault(.adminHost, "must be this machine alone, as it shows the mails: localhost, 127.0.0.1 or ::1")
    }
    edge = EdgeSettings(&reader)
    passwordHasher = Self.passwordHasher(&reader)
    passwordHasherConcurrency = reader.integer(
      .passwordHasherConcurrency, default: min(1024, ProcessInfo.processInfo.activeProcessorCount), in: 1...1024)
    passwordRules = Self.passwordRules(&reader)
    auditDays = reader.integer(.auditDays, in: 1...3650)
    log = LogSettings(&reader)
    secretFiles = reader.secretFiles
    warnings = reader.warnings
    effective = reader.effective
    self.wording = wording
    try reader.check()
    (languages, templates) = try wording.load()
  }

  /// Whether nobody can reach a listener on `host` from another machine.
  static func isOfThisMachine(_ host: String) -> Bool {
    host == "localhost" || host == "::1" || host.wholeMatch(of: /127(\.[0-9]{1,3}){3}/) != nil
  }

  /// Where the service listens, and whether with TLS; all that a look at its health needs.
  static func publicAddress(environment: [String: String]) throws(SettingsError) -> (host: String, port: Int, isTLS: Bool) {
    var reader = SettingsReader(environment: environment)
    let (host, port) = address(&reader)
    let isTLS = reader.isSet(.httpSSLCertfile)
    try reader.check()
    return (host, port, isTLS)
  }

  /// The secret key and its fallbacks, which is what the keyed hashes of the audit were made with.
  static func secretKeys(environment: [String: String]) throws(SettingsError) -> [String] {
    var reader = SettingsReader(environment: environment)
    let keys = [secretKey(&reader, database: databasePath(&reader))] + secretKeyFallbacks(&reader)
    try reader.check()
    return keys
  }

  private static func address(_ reader: inout SettingsReader) -> (host: String, port: Int) {
    (reader.defaultText(.httpHost), reader.integer(.httpPort, in: 0...65535))
  }

  private static func secretKey(_ reader: inout SettingsReader, database: String, keepsKey: Bool = true) -> String {
    if reader.isDevelopment, !reader.isSet(.secretKey) { return keptSecretKey(beside: database, keepsKey: keepsKey, &reader) }
    guard let key = reader.text(.secretKey) else {
      // A file that cannot be read already has a finding.
      if !reader.findings.contains(where: { $0.setting == .secretKey }) {
        reader.fault(.secretKey, "is required: the Django site's, or a new one from `openssl rand -base64 48`", .missingSetting)
      }
      return ""
    }
    if key.unicodeScalars.count < minimumKeyLength {
      reader.fault(.secretKey, "must have at least \(minimumKeyLength) characters", .shortSecretKey)
    }
    return key
  }

  private static func secretKeyFallbacks(_ reader: inout SettingsReader) -> [String] {
    let keys = reader.text(.secretKeyFallbacks).map { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) } ?? []
    if !keys.allSatisfy({ $0.unicodeScalars.count >= minimumKeyLength && !$0.contains(where: \.isWhitespace) }) {
      let remedy = "must be keys of at least \(minimumKeyLength) characters each, separated by commas without blanks"
      reader.fault(.secretKeyFallbacks, remedy, .shortSecretKey)
    }
    return keys
  }

  /// Where the database is; all that commands on the database alone need.
  static func databasePath(environment: [String: String]) throws(SettingsError) -> String {
    var reader = SettingsReader(environment: environment)
    let path = databasePath(&reader)
    try reader.check()
    return path
  }

  private static let minimumKeyLength = 32

  private static func databasePath(_ reader: inout SettingsReader) -> String {
    reader.parsed(
      .databaseURL,
      remedy: "must be sqlite:<path>, with one slash before an absolute path; no other database is supported yet"
    ) { text in
      guard text.hasPrefix("sqlite:") else { return nil }
      let path = text.dropFirst("sqlite:".count)
      // Tools disagree whether sqlite:///db is /db or ./db. A wrong guess would make a new database, and mail nobody; four slashes are clear.
      if path.hasPrefix("////") { return String(path.dropFirst(3)) }
      return path.isEmpty || path == ":memory:" || path.hasPrefix("//") || path.contains("?") ? nil : String(path)
    }
  }

  /// All that a look at the mails needs.
  static func mailPreview(environment: [String: String]) throws(SettingsError) -> (Languages, MailTemplates, ResetURL, timeout: Int) {
    var reader = SettingsReader(environment: environment)
    let port = address(&reader).port
    let url = resetURL(&reader, port: port)
    let timeout = passwordResetTimeout(&reader)
    let wording = MailContentSettings(&reader, timeZone: timeZone(&reader))
    try reader.check()
    let (languages, templates) = try wording.load()
    return (languages, templates, url, timeout)
  }

  private static func timeZone(_ reader: inout SettingsReader) -> TimeZone {
    reader.parsed(.timeZone, remedy: "must be a time zone such as Europe/Berlin", TimeZone.init(identifier:))
  }

  private static func passwordResetTimeout(_ reader: inout SettingsReader) -> Int {
    reader.integer(.passwordResetTimeout, in: 1...31_536_000)
  }

  private static func resetURL(_ reader: inout SettingsReader, port: Int) -> ResetURL {
    let fallback = ResetURL.ofService(port: port).text
    let url = reader.parsed(.resetURL, default: fallback, remedy: "must be a URL with {uid} and {token} in it", ResetURL.init)
    if !url.isProtected {
      let remedy = "must begin with https:// unless it leads to this machine: a token must not travel in the clear"
      reader.fault(.resetURL, remedy, .unprotectedLink)
    }
    return url
  }

  /// What makes new hashes and what rules new passwords keep; all that commands on users need beside the database.
  static func passwordPolicy(environment: [String: String]) throws(SettingsError) -> (hasher: any PasswordHasher, rules: PasswordPolicySettings) {
    var reader = SettingsReader(environment: environment)
    let policy = (passwordHasher(&reader), passwordRules(&reader))
    try reader.check()
    return policy
  }

  private static func passwordHasher(_ reader: inout SettingsReader) -> any PasswordHasher {
    let algorithm = reader.defaultText(.passwordHasher)
    let options = reader.optional(.passwordHasherOptions, remedy: "must be pairs such as memory_cost=65536,time_cost=3", pairs) ?? [:]
    do {
      return try PasswordHashers.make(algorithm, options: options)
    } catch {
      switch error {
      case .unknownAlgorithm: reader.fault(.passwordHasher, "must be one of \(PasswordHashers.algorithms.joined(separator: ", "))")
      case .unknownOption(_, let known):
        reader.fault(.passwordHasherOptions, "has an option that \(algorithm) does not have; it has \(known.joined(separator: ", "))")
      case .outOfBounds: reader.fault(.passwordHasherOptions, "asks for a cost that is too high, or that \(algorithm) cannot have")
      }
      return PBKDF2PasswordHasher()
    }
  }

  private static func passwordRules(_ reader: inout SettingsReader) -> PasswordPolicySettings {
    guard let json = reader.text(.authPasswordValidators) else { return .usual }
    do {
      return try PasswordPolicySettings(json: json)
    } catch {
      reader.fault(.authPasswordValidators, error.remedy)
      return .usual
    }
  }

  /// `a=1,b=2`, each name once.
  private static func pairs(_ text: String) -> [String: Int]? {
    var pairs: [String: Int] = [:]
    for pair in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let match = pair.wholeMatch(of: /([a-z_]+)=([0-9]+)/), let value = Int(match.2), pairs.updateValue(value, forKey: String(match.1)) == nil
      else { return nil }
    }
    return pairs
  }

  /// Development's secret key: made once and kept in a file that its owner alone may read.
  private static func keptSecretKey(beside database: String, keepsKey: Bool, _ reader: inout SettingsReader) -> String {
    let path = database + ".secret-key"
    if let kept = FileManager.default.contents(atPath: path) {
      let key = String(decoding: kept, as: UTF8.self).trimmingCharacters(in: .newlines)
      if key.isEmpty { reader.fault(.secretKey, "is not set and \(path), where development keeps it, is empty; remove that file", .missingSetting) }
      reader.note(.secretKey, key, from: "development")
      return key
    }
    let key = Data((0..<48).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString()
    reader.note(.secretKey, key, from: "development")
    guard keepsKey else { return key }
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    do {
      try FileHandle(fileDescriptor: descriptor, closeOnDealloc: true).write(contentsOf: Data((key + "\n").utf8))
    } catch {
      reader.fault(.databaseURL, "names a folder in which no file can be made; check the path and its permissions", .unusableDatabase)
    }
    return key
  }
}

/// What is logged, and how.
struct LogSettings: Sendable {
  enum Format: String, CaseIterable {
    case json, text
  }

  var level: Logger.Level
  var format: Format
  /// Whether levels stand out: on a terminal, unless its owner does not want that (https://no-color.org).
  var isColoured: Bool

  init(_ reader: inout SettingsReader) {
    level = reader.choice(.logLevel)
    let isTerminal = isatty(STDERR_FILENO) == 1
    format = reader.choice(.logFormat, default: isTerminal ? Format.text : .json)
    isColoured = isTerminal && ProcessInfo.processInfo.environment["NO_COLOR", default: ""].isEmpty
  }
}
