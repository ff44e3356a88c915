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
  var passwordRules: PasswordRules
  var log: LogSettings

  /// Throws ``SettingsError``, which names every setting at fault.
  /// - Parameter dev: take development's defaults for what is not set: a kept secret key, mails to the terminal, no limits.
  init(environment: [String: String], dev: Bool = false) throws(SettingsError) {
    var reader = SettingsReader(environment: environment)
    isDevelopment = dev
    httpHost = reader.text(.httpHost) ?? "127.0.0.1"
    httpPort = reader.integer(.httpPort, default: 8080, in: 0...65535)
    adminHost = reader.parsed(.adminHost, default: "127.0.0.1", remedy: "must be this machine alone: localhost, 127.0.0.1 or ::1") {
      $0 == "localhost" || $0 == "::1" || $0.wholeMatch(of: /127(\.[0-9]{1,3}){3}/) != nil ? $0 : nil
    }
    adminPort = reader.integer(.adminPort, default: 8081, in: 0...65535)
    databasePath = Self.databasePath(&reader)
    secretKey = reader.text(.secretKey) ?? (dev && !reader.isSet(.secretKey) ? Self.keptSecretKey(beside: databasePath, &reader) : "")
    if secretKey.isEmpty {
      reader.fault(.secretKey, "is required: the Django site's, or a new one from `openssl rand -base64 48`")
    } else if secretKey.unicodeScalars.count < Self.minimumKeyLength {
      reader.fault(.secretKey, "must have at least \(Self.minimumKeyLength) characters")
    }
    secretKeyFallbacks = reader.parsed(
      .secretKeyFallbacks, default: [],
      remedy: "must be keys of at least \(Self.minimumKeyLength) characters each, separated by commas without blanks"
    ) { text in
      let keys = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
      return keys.allSatisfy { $0.unicodeScalars.count >= Self.minimumKeyLength && !$0.contains(where: \.isWhitespace) } ? keys : nil
    }
    passwordResetTimeout = Self.passwordResetTimeout(&reader)
    timeZone = Self.timeZone(&reader)
    resetURL = Self.resetURL(&reader, port: httpPort)
    let wording = WordingSettings(&reader, timeZone: timeZone)
    siteName = wording.siteName
    email = EmailSettings(&reader, sender: wording.sender, dev: dev)
    edge = EdgeSettings(&reader, dev: dev)
    passwordHasher = Self.passwordHasher(&reader)
    passwordHasherConcurrency = reader.integer(
      .passwordHasherConcurrency, default: ProcessInfo.processInfo.activeProcessorCount, in: 1...1024)
    passwordRules = Self.passwordRules(&reader)
    log = LogSettings(&reader, dev: dev)
    try reader.check()
    (languages, templates) = try wording.load()
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
      .databaseURL, default: "password-reset.sqlite3",
      remedy: "must be sqlite:<path>, with one slash before an absolute path; no other database is supported yet"
    ) { text in
      guard text.hasPrefix("sqlite:") else { return nil }
      let path = text.dropFirst("sqlite:".count)
      // Tools disagree whether sqlite:///db is /db or ./db. A wrong guess would make a new database, and mail nobody; four slashes are clear.
      if path.hasPrefix("////") { return String(path.dropFirst(3)) }
      return path.isEmpty || path.hasPrefix("//") || path.contains("?") ? nil : String(path)
    }
  }

  /// All that a look at the mails needs.
  static func mailPreview(environment: [String: String]) throws(SettingsError) -> (Languages, MailTemplates, ResetURL, timeout: Int) {
    var reader = SettingsReader(environment: environment)
    let port = reader.integer(.httpPort, default: 8080, in: 0...65535)
    let url = resetURL(&reader, port: port)
    let timeout = passwordResetTimeout(&reader)
    let wording = WordingSettings(&reader, timeZone: timeZone(&reader))
    try reader.check()
    let (languages, templates) = try wording.load()
    return (languages, templates, url, timeout)
  }

  private static func timeZone(_ reader: inout SettingsReader) -> TimeZone {
    reader.parsed(.timeZone, default: .gmt, remedy: "must be a time zone such as Europe/Berlin", TimeZone.init(identifier:))
  }

  private static func passwordResetTimeout(_ reader: inout SettingsReader) -> Int {
    reader.integer(.passwordResetTimeout, default: 3600, in: 1...31_536_000)
  }

  private static func resetURL(_ reader: inout SettingsReader, port: Int) -> ResetURL {
    let fallback = ResetURL.ofService(port: port)
    let url = reader.parsed(.resetURL, default: fallback, remedy: "must be a URL with {uid} and {token} in it", ResetURL.init)
    if !url.isProtected {
      reader.fault(.resetURL, "must begin with https:// unless it leads to this machine: a token must not travel in the clear")
    }
    return url
  }

  /// What makes new hashes and what rules new passwords keep; all that commands on users need beside the database.
  static func passwordPolicy(environment: [String: String]) throws(SettingsError) -> (hasher: any PasswordHasher, rules: PasswordRules) {
    var reader = SettingsReader(environment: environment)
    let policy = (passwordHasher(&reader), passwordRules(&reader))
    try reader.check()
    return policy
  }

  private static func passwordHasher(_ reader: inout SettingsReader) -> any PasswordHasher {
    let algorithm = reader.text(.passwordHasher) ?? "pbkdf2_sha256"
    let options = reader.parsed(.passwordHasherOptions, default: [:], remedy: "must be pairs such as memory_cost=65536,time_cost=3", pairs)
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

  private static func passwordRules(_ reader: inout SettingsReader) -> PasswordRules {
    guard let json = reader.text(.authPasswordValidators) else { return .usual }
    do {
      return try PasswordRules(json: json)
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
  private static func keptSecretKey(beside database: String, _ reader: inout SettingsReader) -> String {
    let path = database + ".secret-key"
    if let kept = FileManager.default.contents(atPath: path) {
      let key = String(decoding: kept, as: UTF8.self).trimmingCharacters(in: .newlines)
      if key.isEmpty { reader.fault(.secretKey, "is not set and \(path), where development keeps it, is empty; remove that file") }
      return key
    }
    let key = Data((0..<48).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString()
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    do {
      try FileHandle(fileDescriptor: descriptor, closeOnDealloc: true).write(contentsOf: Data((key + "\n").utf8))
    } catch {
      reader.fault(.databaseURL, "names a folder in which no file can be made; check the path and its permissions")
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

  init(_ reader: inout SettingsReader, dev: Bool) {
    level = reader.choice(.logLevel, default: Logger.Level.info) ?? .info
    format = reader.choice(.logFormat, default: dev ? Format.text : .json) ?? .json
  }
}
