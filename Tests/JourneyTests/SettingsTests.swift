import Credentials
import Foundation
import HTTPAPI
import Testing

@testable import App

@Suite struct `The configuration` {
  private static let good = ["SECRET_KEY": Harness.secretKey, "EMAIL_BACKEND": "smtp"]

  @Test func `needs no more than a secret key and a mail backend`() throws {
    let settings = try Settings(environment: Self.good)
    #expect(settings.httpHost == "127.0.0.1" && settings.httpPort == 8080 && settings.databasePath == "password-reset.sqlite3")
    #expect(settings.passwordResetTimeout == 3600 && settings.email.smtp.port == 25 && settings.log.format == .json)
    #expect(settings.edge.mailLimits.map(\.count) == [1, 5] && settings.edge.totalMailLimits.isEmpty)
    #expect(settings.edge.requestLimits.map(\.count) == [20] && settings.edge.linkLimits.map(\.count) == [60])
    #expect(settings.edge.trustedProxies == .none && settings.edge.allowedOrigins == .none)
  }

  @Test(arguments: [
    ("HTTP_PORT", "http"), ("HTTP_PORT", "70000"), ("HTTP_PORT", "-1"), ("DATABASE_URL", "postgres://u:hunter2@h/d"),
    ("DATABASE_URL", "file.sqlite3"),
    ("DATABASE_URL", "sqlite://host/path"), ("DATABASE_URL", "sqlite:///db.sqlite3"), ("SECRET_KEY", "too-short-by-far-to-be-a-secret"),
    ("SECRET_KEY", ""),
    ("SECRET_KEY_FALLBACKS", "short,keys"), ("SECRET_KEY_FALLBACKS", "0123456789-0123456789-0123456789-0, 0123456789-0123456789-0123456789-1"),
    ("EMAIL_HOST", "mail.example.com:587"), ("EMAIL_HOST", "smtp://mail.example.com"), ("SSL_CERT_FILE", "/nowhere/ca.pem"),
    ("EMAIL_PORTS", "25"), ("PASSWORD_RESET_TIMEOUTS", "60"),
    ("PASSWORD_RESET_TIMEOUT", "1h"), ("PASSWORD_RESET_TIMEOUT", "0"), ("TIME_ZONE", "Mars/Olympus"), ("RESET_URL", "https://example.com/reset"),
    ("RESET_URL", "http://example.com/{uid}/{token}"), ("RESET_URL", "http://127.example.com/{uid}/{token}"),
    ("RESET_URL", "http://localhost:x@evil.example/{uid}/{token}"), ("RESET_URL", "//example.com/{uid}/{token}"),
    ("DEFAULT_FROM_EMAIL", "nobody at all"),
    ("DEFAULT_FROM_EMAIL", "a@b.co, c@b.co"), ("EMAIL_BACKEND", "pigeon"), ("EMAIL_BACKEND", ""), ("EMAIL_PORT", "0"), ("EMAIL_USE_TLS", "maybe"),
    ("EMAIL_TIMEOUT", "0"), ("EMAIL_HOST_USER", "somebody"), ("EMAIL_HOST_PASSWORD", "hunter2-hunter2"), ("EMAIL_SSL_CERTFILE", "/nowhere/cert.pem"),
    ("EMAIL_SSL_KEYFILE", "/nowhere/key.pem"), ("PASSWORD_HASHER", "rot13"), ("PASSWORD_HASHER_OPTIONS", "iterations"),
    ("PASSWORD_HASHER_OPTIONS", "iterations=1,iterations=2"),
    ("PASSWORD_HASHER_OPTIONS", "rounds=12"), ("PASSWORD_HASHER_OPTIONS", "iterations=99999999"), ("PASSWORD_HASHER_CONCURRENCY", "none"),
    ("AUTH_PASSWORD_VALIDATORS", "no JSON"), ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "hunter2.Validator"}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"name": "MinimumLengthValidator"}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "NumericPasswordValidator", "OPTION": {}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "NumericPasswordValidator", "OPTIONS": []}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "MinimumLengthValidator", "OPTIONS": {"length": 9}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "MinimumLengthValidator", "OPTIONS": {"min_length": 8.5}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "MinimumLengthValidator", "OPTIONS": {"min_length": true}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "UserAttributeSimilarityValidator", "OPTIONS": {"max_similarity": 0}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "UserAttributeSimilarityValidator", "OPTIONS": {"user_attributes": ["shoe_size"]}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "CommonPasswordValidator", "OPTIONS": {"password_list_path": "/nowhere/list.txt"}}]"#),
    (
      "AUTH_PASSWORD_VALIDATORS",
      #"[{"NAME": "MinimumLengthValidator", "OPTIONS": {"min_length": 30}}, {"NAME": "MaximumLengthValidator", "OPTIONS": {"max_length": 20}}]"#
    ),
    ("AUTH_PASSWORD_VALIDATOR", "[]"), ("RATE_LIMIT_MAILS", "1 per minute"), ("RATE_LIMIT_MAILS", "0/m"),
    ("LOG_LEVEL", "loud"), ("LOG_FORMAT", "xml"), ("SITE_NAME", "a\nb"), ("EMAIL_USE_TSL", "true"), ("RATE_LIMIT_REQUESTS", "20/minute"),
    ("SECRET_KEYS", "x"),
    ("RATE_LIMIT_LINKS", "1/m,2/m"), ("RATE_LIMIT_MAILS_TOTAL", "many"), ("RATE_LIMIT_REQUEST", "20/m"), ("CORS_ALLOW_ALL_ORIGINS", "true"),
    ("TRUSTED_PROXIES", "proxy.example.com"), ("TRUSTED_PROXIES", "10.0.0.0/33"), ("TRUSTED_PROXIES", "10.0.0.1,"), ("TRUSTED_PROXIES", "::/129"),
    ("CORS_ALLOWED_ORIGINS", "https://app.example.com/"), ("CORS_ALLOWED_ORIGINS", "https://App.example.com"),
    ("CORS_ALLOWED_ORIGINS", "https://app.example.com:443"), ("CORS_ALLOWED_ORIGINS", "null"), ("CORS_ALLOWED_ORIGINS", "site.example.com"),
    ("HTTP_SSL_CERTFILE", "/nowhere/cert.pem"), ("HTTP_SSL_KEYFILE", "/nowhere/key.pem"), ("CORS_ALLOWED_ORIGINS", "*"),
    ("SECRET_KEY_FILE", "/nowhere/secret"), ("ADMIN_PORT", "admin"), ("AUDIT_DAYS", "0"), ("AUDIT_DAYSS", "9"), ("EMAIL_SMTP_PORT", "5870"),
    ("DATABASE_URL", "sqlite::memory:"),
    ("LANGUAGE_CODE", "tlh"),
    ("EMAIL_OAUTH2_TOKEN_FILE", "/nowhere/token"), ("EMAIL_SENDMAIL_COMMAND", "sendmail -t"), ("EMAIL_SENDMAIL_COMMAND", "/bin/true --from={sender}"),
    ("EMAIL_CONNECTIONS", "0"),
    ("EMAIL_RATE_LIMIT", "fast"), ("EMAIL_RATE_LIMIT", "1/s,5/m"), ("EMAIL_TEMPLATES_DIR", "/nowhere/templates"), ("EMAIL_EXTRA_CONTEXT", "[]"),
    ("EMAIL_EXTRA_CONTEXT", #"{"token": "x"}"#), ("EMAIL_EXTRA_CONTEXT", #"{"support": {}}"#), ("EMAIL_EXTRA_CONTEXT", #"{"a-b": "x"}"#),
    ("EMAIL_PASSWORD_CHANGED", "maybe"), ("EMAIL_ACCOUNTS_PER_REQUEST", "0"), ("EMAIL_DEAD_LETTER_DAYS", "forever"),
  ])
  func `that is wrong is refused with the setting's name, and without its value`(_ name: String, _ value: String) {
    var environment = Self.good
    environment[name] = value
    if name == "EMAIL_HOST_PASSWORD" { environment["EMAIL_HOST_USER"] = nil }
    let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
    let text = error?.description ?? ""
    let named = ["EMAIL_HOST_USER": "EMAIL_HOST_PASSWORD", "EMAIL_HOST_PASSWORD": "EMAIL_HOST_USER", "SECRET_KEY_FILE": "SECRET_KEY"][name] ?? name
    #expect(text.contains(named))
    let faults = error?.faults ?? []
    #expect(Set(faults).count == faults.count, "said twice: \(text)")
    #expect(value.count < 3 || !text.contains(value), "\(text)")
  }

  @Test func `is not stopped by what Kubernetes tells of a service called password-reset`() throws {
    let names = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8080_TCP", "PORT_8080_TCP_PROTO", "PORT_8080_TCP_ADDR"]
    let variables = names.map { ("PASSWORD_RESET_\($0)", "tcp://10.0.0.1:8080") }
    _ = try Settings(environment: Self.good.merging(variables) { $1 })
  }

  @Test(arguments: [("sqlite:a/b.db", "a/b.db"), ("sqlite:/a/b.db", "/a/b.db"), ("sqlite:////a/b.db", "/a/b.db")])
  func `names the database file by a path`(_ url: String, _ path: String) throws {
    #expect(try Settings(environment: Self.good.merging(["DATABASE_URL": url]) { $1 }).databasePath == path)
  }

  @Test func `of the password rules is Django's, with its options and order`() throws {
    let list = FileManager.default.temporaryDirectory.appendingPathComponent("list-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: list) }
    try Data("  xyzzy-plugh \nr\u{e9}sum\u{e9}-2026\n".utf8).write(to: list)
    let json = """
      [{"NAME": "CommonPasswordValidator", "OPTIONS": {"password_list_path": "\(list.path)"}},
       {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
       {"NAME": "UserAttributeSimilarityValidator", "OPTIONS": {"user_attributes": ["email"], "max_similarity": 1}},
       {"NAME": "CurrentPasswordValidator"}, {"NAME": "MaximumLengthValidator", "OPTIONS": {"max_length": 20}}]
      """
    let rules = try Settings(environment: Self.good.merging(["AUTH_PASSWORD_VALIDATORS": json]) { $1 }).passwordRules
    #expect(rules.refusesCurrentPassword)
    let user = UserAttributes(username: "wonderland-77", firstName: "", lastName: "", email: "alice-77-wonder@example.com")
    for (password, codes) in [
      ("XYZZY-plugh", ["password_too_common", "password_too_short"]), ("password", ["password_too_short"]), ("wonderland-77", []),
      ("alice-77-wonder@example.com", ["password_too_similar", "password_too_long"]),
      ("r\u{e9}sum\u{e9}-2026", ["password_too_common", "password_too_short"]),
      ("re\u{301}sume\u{301}-2026", []),
    ] {
      #expect(rules.validators.compactMap { $0.validate(password, user: user)?.code } == codes, "\(password)")
    }
    let none = try Settings(environment: Self.good.merging(["AUTH_PASSWORD_VALIDATORS": "[]"]) { $1 }).passwordRules
    #expect(none.validators.compactMap { $0.validate(String(repeating: "1", count: 1025), user: user)?.code } == ["password_too_long"])
  }

  @Test func `names all its faults at once`() {
    let error = #expect(throws: SettingsError.self) { try Settings(environment: ["HTTP_PORT": "x", "LOG_LEVEL": "y", "EMAIL_BACKEND": "file"]) }
    #expect(error?.faults.count == 4)
  }

  @Test(arguments: ["SECRET_KEY_FALLBACK", "SECRET_KEYS", "SECRET_KEY_FIEL"])
  func `names a missing secret key next to a setting that begins with its name`(_ unknown: String) {
    let error = #expect(throws: SettingsError.self) { try Settings(environment: ["EMAIL_BACKEND": "smtp", unknown: "x"]) }
    #expect(error?.findings.map(\.kind) == [.unknownSetting, .missingSetting])
  }

  @Test func `takes a secret from a file, and not from both places`() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("secret-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try (Harness.secretKey + "\n").write(toFile: path, atomically: true, encoding: .utf8)
    let settings = try Settings(environment: ["SECRET_KEY_FILE": path, "EMAIL_BACKEND": "smtp"])
    #expect(settings.secretKey == Harness.secretKey)
    #expect(throws: SettingsError.self) { try Settings(environment: Self.good.merging(["SECRET_KEY_FILE": path]) { $1 }) }
  }

  private func file(_ text: String) throws -> [String: String] {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("settings-\(UUID().uuidString)").path
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return ["PASSWORD_RESET_CONFIG": path]
  }

  /// Settings that hold `value`, from the environment and from a file.
  private func places(_ name: SettingName, _ value: String) throws -> [[String: String]] {
    let environment = Self.good.merging([name.rawValue: value]) { $1 }
    guard name != .config else { return [environment] }
    let data = try JSONSerialization.data(withJSONObject: environment)
    return [environment, try file(String(decoding: data, as: UTF8.self))]
  }

  @Test(arguments: SettingName.allCases.filter { !$0.isJSON })
  func `refuses a line end or another control character in any value, once`(_ name: SettingName) throws {
    let lines = ["hunter2\n", "hunter2\r\n", "hunter2\r", "\nhunter2", "hunter2\nhunter2", "\thunter2"]
    // YAML folds these two itself.
    let ofTheEnvironment = ["hunter2\u{85}", "\u{FEFF}hunter2"]
    for value in lines + ofTheEnvironment {
      for environment in try places(name, value).prefix(ofTheEnvironment.contains(value) ? 1 : 2) {
        let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
        #expect(error?.findings.map(\.setting) == [name] && error?.findings.map(\.kind) == [.invalidSetting], "\(error?.description ?? "")")
        #expect(error?.description.contains("hunter2") == false)
      }
    }
  }

  @Test(arguments: SettingName.allCases.filter { !$0.isJSON })
  func `accepts quotation marks and blanks around a value only where it may be any text, and warns`(_ name: SettingName) throws {
    for (before, after) in [("\"", "\""), ("'", "'"), (" ", ""), ("", " "), ("", "\u{A0}")] {
      // Former keys have no blanks in them.
      if name == .secretKeyFallbacks, after != before { continue }
      let value = "\(before)hunter2-0123456789-0123456789-0123456789\(after)"
      for var environment in try places(name, value) {
        if name == .emailHostPassword { environment["EMAIL_HOST_USER"] = "mailer" }
        if name.isSecret || name == .siteName {
          let settings = try Settings(environment: environment)
          #expect(settings.warnings.map(\.setting) == [name] && settings.warnings.map(\.kind) == [.doubtfulValue])
          #expect(!"\(settings.warnings)".contains("hunter2"))
          if name == .secretKey { #expect(settings.secretKey == value) }
        } else {
          let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
          #expect(error?.findings.map(\.setting) == [name], "\(error?.description ?? "")")
          #expect(error?.description.contains("hunter2") == false)
        }
      }
    }
  }

  @Test(arguments: SettingName.allCases.filter(\.isSecret))
  func `reads the same secret from a file with line ends as from the environment without`(_ name: SettingName) throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("secret-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    var environment = Self.good.merging([name.file: path]) { $1 }
    environment[name.rawValue] = nil
    if name == .emailHostPassword { environment["EMAIL_HOST_USER"] = "mailer" }
    let secret = "hunter2=0123456789:[0123456789-0123456789],{0123456789-0123456789-0123456789}"
    // The first is the byte order mark that some editors write.
    for (start, end) in [("\u{FEFF}", ""), ("", ""), ("", "\n"), ("", "\r\n"), ("", "\n\n")] {
      try (start + secret + end).write(toFile: path, atomically: true, encoding: .utf8)
      let settings = try Settings(environment: environment)
      #expect(settings.effective[name] == EffectiveSetting(value: "********", source: name.file) && settings.warnings.isEmpty)
      if name == .secretKey { #expect(settings.secretKey == secret) }
    }
    for content in [
      "\(name.rawValue)=\(secret)", "export \(name.rawValue)='\(secret)'", "\(name.rawValue): \(secret)", "\"\(name.rawValue)\": \"\(secret)\"",
      "{\"key\": \"\(secret)\"}", "[\"\(secret)\"]", "['\(secret)']", "\(secret)\n\(secret)",
      String(repeating: secret, count: 2000),
    ] {
      try content.write(toFile: path, atomically: true, encoding: .utf8)
      let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
      #expect(error?.findings.map(\.setting) == [name] && error?.findings.map(\.kind) == [.invalidSetting], "\(error?.description ?? "")")
      #expect(error?.description.contains(name.file) == true && error?.description.contains(path) == true)
      #expect(error?.description.contains("hunter2") == false)
    }
  }

  @Test(arguments: [
    """
    SECRET_KEY: \(Harness.secretKey)
    EMAIL_BACKEND: smtp
    HTTP_PORT: 9000
    SITE_NAME: "null"
    EMAIL_USE_TLS: yes
    EMAIL_HOST: ~
    CORS_ALLOWED_ORIGINS: [https://a.example, https://b.example]
    PASSWORD_HASHER: argon2
    PASSWORD_HASHER_OPTIONS: {time_cost: 1, memory_cost: 1024}
    AUTH_PASSWORD_VALIDATORS:
      - NAME: MinimumLengthValidator
        OPTIONS: {min_length: 3}
    """,
    """
    {"SECRET_KEY": "\(Harness.secretKey)", "EMAIL_BACKEND": "smtp", "HTTP_PORT": 9000, "SITE_NAME": "null", "EMAIL_USE_TLS": true,
     "CORS_ALLOWED_ORIGINS": ["https://a.example", "https://b.example"], "PASSWORD_HASHER": "argon2",
     "PASSWORD_HASHER_OPTIONS": {"time_cost": 1, "memory_cost": 1024},
     "AUTH_PASSWORD_VALIDATORS": [{"NAME": "MinimumLengthValidator", "OPTIONS": {"min_length": 3}}]}
    """,
  ])
  func `may stand in a file, in YAML or JSON, behind the environment`(_ text: String) throws {
    let environment = try file(text)
    let settings = try Settings(environment: environment)
    #expect(settings.httpPort == 9000 && settings.siteName == "null" && settings.email.smtp.port == 587 && settings.email.smtp.host == "localhost")
    #expect(settings.edge.allowedOrigins == AllowedOrigins("https://a.example,https://b.example"))
    #expect(try settings.passwordHasher.encode("x").hasPrefix("argon2$argon2id$v=19$m=1024,t=1,"))
    #expect(settings.passwordRules.validators.count == 2)
    #expect(settings.effective[.httpPort] == EffectiveSetting(value: "9000", source: "file"))
    #expect(settings.effective[.secretKey] == EffectiveSetting(value: "********", source: "file"))
    #expect(settings.effective[.adminPort] == EffectiveSetting(value: "8081", source: "default"))
    let other = try Settings(environment: environment.merging(["HTTP_PORT": "9001", "EMAIL_HOST": "mail.example.com"]) { $1 })
    #expect(other.httpPort == 9001 && other.email.smtp.host == "mail.example.com")
    #expect(other.effective[.httpPort]?.source == "environment")
  }

  @Test(arguments: [
    ("- hunter2", "E008"), ("hunter2", "E008"), ("HTTP_PORT: 1\nHTTP_PORT: hunter2", "E008"), ("SECRET_KEY: 'hunter2", "E008"),
    ("SECRET_KEY: hunter2\n hunter2: [", "E008"), ("HTTP_PROT: hunter2", "E001"), ("hunter2: 1", "E008"), ("SITE_NAME: [[hunter2]]", "E008"),
    ("SITE_NAME: {a: {b: hunter2}}", "E008"), ("PASSWORD_RESET_CONFIG: hunter2", "E001"), ("SITE_NAME: ['a,hunter2']", "E008"),
    ("EMAIL_EXTRA_CONTEXT: {support: {{ hunter2 }} }", "E008"), ("AUTH_PASSWORD_VALIDATORS:\n  - {{ hunter2 }}", "E008"),
    (
      "EMAIL_EXTRA_CONTEXT: {a: &a [hunter2,x,x,x,x,x,x,x,x], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a], c: &c [*b,*b,*b,*b,*b,*b,*b,*b], "
        + "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c], e: &e [*d,*d,*d,*d,*d,*d,*d,*d], f: &f [*e,*e,*e,*e,*e,*e,*e], g: [*f,*f,*f,*f,*f,*f]}", "E008"
    ), ("HTTP_PORT: hunter2", "E003"), ("SECRET_KEY: &a hunter2\nSITE_NAME: *b", "E008"),
  ])
  func `in a file is as strict, and shows no value`(_ text: String, _ kind: String) throws {
    let environment = Self.good.merging(try file(text)) { $1 }
    let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
    #expect(error?.findings.map(\.kind.rawValue) == [kind])
    #expect(error?.description.contains("hunter2") == false, "\(error?.description ?? "")")
  }

  @Test(arguments: [
    "noreply@example.com", "Example <noreply@example.com>", #""Example, Inc." <noreply@example.com>"#, #""The \"Site\"" <o'brien@example.com>"#,
    "Site's <noreply@example.com>",
  ])
  func `accepts a sender with quotation marks in its name`(_ sender: String) throws {
    #expect(try Settings(environment: Self.good.merging(["DEFAULT_FROM_EMAIL": sender]) { $1 }).email.sender == sender)
  }

  @Test func `of TLS sets the port that goes with it`() throws {
    #expect(try Settings(environment: Self.good.merging(["EMAIL_USE_TLS": "True"]) { $1 }).email.smtp.port == 587)
    #expect(try Settings(environment: Self.good.merging(["EMAIL_USE_SSL": "1"]) { $1 }).email.smtp.port == 465)
    #expect(throws: SettingsError.self) { try Settings(environment: Self.good.merging(["EMAIL_USE_SSL": "1", "EMAIL_USE_TLS": "1"]) { $1 }) }
  }

  @Test func `for development is complete by itself, and keeps its secret key`() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("dev-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let environment = ["DATABASE_URL": "sqlite:\(folder)/dev.sqlite3"]
    let first = try Settings(environment: environment, dev: true)
    #expect(try Settings(environment: environment, dev: true).secretKey == first.secretKey)
    #expect(first.secretKey.count == 64 && first.email.backend == .console && first.edge.mailLimits.isEmpty)
    #expect(first.edge.requestLimits.isEmpty && first.edge.linkLimits.isEmpty)
    let attributes = try FileManager.default.attributesOfItem(atPath: "\(folder)/dev.sqlite3.secret-key")
    #expect(attributes[.posixPermissions] as? Int == 0o600)
  }

  @Test func `is described in the docs, every setting and no other`() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let text = try String(contentsOf: root.appendingPathComponent("docs/configuration.md"), encoding: .utf8)
    let rows = text.matches(of: #/(?m)^\| `([A-Z0-9_]+)` \| (.*?) \| /#)
    #expect(rows.map { String($0.1) } == SettingName.allCases.map(\.rawValue))
    for row in rows {
      let name = try #require(SettingName(rawValue: String(row.1)))
      guard let usual = name.usual else { continue }
      #expect(row.2 == "`\(usual)`", "\(name.rawValue)")
    }
  }
}
