import Credentials
import Foundation
import PostgresStore
import HTTPAPI
import PasswordReset
import Testing

@testable import App

@Suite struct `The configuration` {
  private static let good = ["SECRET_KEY": Harness.secretKey, "EMAIL_BACKEND": "smtp"]

  @Test func `requires only a secret key and an email backend`() throws {
    let settings = try Settings(environment: Self.good)
    #expect(settings.http.host == "127.0.0.1" && settings.http.port == 8080 && settings.database.path == "password-reset.sqlite3")
    #expect(settings.links.timeout == 3600 && settings.mail.smtp.port == 25 && settings.log.format == .json)
    #expect(settings.mail.addressLimits.map(\.count) == [1, 5] && settings.mail.totalLimits.isEmpty)
    #expect(settings.http.requestLimits.map(\.count) == [20] && settings.http.linkLimits.map(\.count) == [60])
    #expect(settings.http.trustedProxies == .none && settings.http.allowedOrigins == .none)
  }

  @Test(arguments: [
    ("HTTP_PORT", "http"), ("HTTP_PORT", "70000"), ("HTTP_PORT", "-1"), ("DATABASE_URL", "mysql://u:hunter2@h/d"),
    ("DATABASE_URL", "file.sqlite3"),
    ("DATABASE_URL", "sqlite://host/path"), ("DATABASE_URL", "sqlite:///"), ("DATABASE_URL", "sqlite:///:memory:"),
    ("DATABASE_URL", "sqlite:///etc/passwd"), ("SECRET_KEY", "too-short-by-far-to-be-a-secret"),
    ("SECRET_KEY", ""),
    ("SECRET_KEY_FALLBACKS", "short,keys"), ("SECRET_KEY_FALLBACKS", "0123456789-0123456789-0123456789-0, 0123456789-0123456789-0123456789-1"),
    ("EMAIL_HOST", "mail.example.com:587"), ("EMAIL_HOST", "smtp://mail.example.com"), ("SSL_CERT_FILE", "/nowhere/ca.pem"),
    ("EMAIL_PORTS", "25"), ("PASSWORD_RESET_TIMEOUTS", "60"),
    ("PASSWORD_RESET_TIMEOUT", "1h"), ("PASSWORD_RESET_TIMEOUT", "0"), ("TIME_ZONE", "Mars/Olympus"), ("RESET_URL", "https://example.com/reset"),
    ("RESET_URL", "http://example.com/{uid}/{token}"), ("RESET_URL", "http://127.example.com/{uid}/{token}"),
    ("RESET_URL", "http://localhost:x@evil.example/{uid}/{token}"), ("RESET_URL", "//example.com/{uid}/{token}"),
    ("DEFAULT_FROM_EMAIL", "no address"),
    ("DEFAULT_FROM_EMAIL", "a@b.co, c@b.co"), ("EMAIL_BACKEND", "pigeon"), ("EMAIL_BACKEND", ""), ("EMAIL_PORT", "0"), ("EMAIL_USE_TLS", "maybe"),
    ("EMAIL_TIMEOUT", "0"), ("EMAIL_HOST_USER", "mailer"), ("EMAIL_HOST_PASSWORD", "hunter2-hunter2"), ("EMAIL_SSL_CERTFILE", "/nowhere/cert.pem"),
    ("EMAIL_SSL_KEYFILE", "/nowhere/key.pem"), ("PASSWORD_HASHER", "rot13"), ("PASSWORD_HASHER_OPTIONS", "iterations"),
    ("PASSWORD_HASHER_OPTIONS", "iterations=1,iterations=2"),
    ("PASSWORD_HASHER_OPTIONS", "rounds=12"), ("PASSWORD_HASHER_OPTIONS", "iterations=99999999"), ("PASSWORD_HASHER_CONCURRENCY", "none"),
    ("PASSWORD_FORMAT", "phpass"), ("PASSWORD_FORMAT_OPTIONS", "ident=2y"), ("PASSWORD_FORMATS", "crypt"),
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
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "PasswordHistoryValidator", "OPTIONS": {"count": 0}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "PasswordHistoryValidator", "OPTIONS": {"count": 25}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "ContextWordsValidator", "OPTIONS": {"words": "example"}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "ContextWordsValidator", "OPTIONS": {"words": ["x"]}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "ContextWordsValidator", "OPTIONS": {"words_path": "/nowhere/words.txt"}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "ContextWordsValidator", "OPTIONS": {"min_word_length": 100}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "ContextWordsValidator", "OPTIONS": {"user_attributes": []}}]"#),
    ("AUTH_PASSWORD_VALIDATORS", #"[{"NAME": "zxcvbn_password.ZXCVBNValidator", "OPTIONS": {"min_score": 3}}]"#),
    (
      "AUTH_PASSWORD_VALIDATORS",
      #"[{"NAME": "MinimumLengthValidator", "OPTIONS": {"min_length": 30}}, {"NAME": "MaximumLengthValidator", "OPTIONS": {"max_length": 20}}]"#
    ),
    ("AUTH_PASSWORD_VALIDATOR", "[]"), ("RATE_LIMIT_MAILS", "1 per minute"), ("RATE_LIMIT_MAILS", "0/m"),
    ("LOG_LEVEL", "loud"), ("LOG_FORMAT", "xml"), ("SITE_NAME", "a\nb"), ("EMAIL_USE_TSL", "true"), ("RATE_LIMIT_REQUESTS", "20/minute"),
    ("SECRET_KEYS", "x"),
    ("RATE_LIMIT_LINKS", "1/m,2/m"), ("RATE_LIMIT_MAILS_TOTAL", "many"), ("RATE_LIMIT_REQUEST", "20/m"), ("CORS_ALLOW_ALL", "true"),
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
  func `with an invalid value is refused with the name of the setting and without the value`(_ name: String, _ value: String) {
    var environment = Self.good
    environment[name] = value
    if name == "EMAIL_HOST_PASSWORD" { environment["EMAIL_HOST_USER"] = nil }
    let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
    let text = error?.description ?? ""
    let named = ["EMAIL_HOST_USER": "EMAIL_HOST_PASSWORD", "EMAIL_HOST_PASSWORD": "EMAIL_HOST_USER", "SECRET_KEY_FILE": "SECRET_KEY"][name] ?? name
    #expect(text.contains(named))
    let messages = error?.findings.map(\.message) ?? []
    #expect(Set(messages).count == messages.count, "reported twice: \(text)")
    #expect(value.count < 3 || !text.contains(value), "\(text)")
  }

  @Test(arguments: [
    (["PASSWORD_HASHER": "pbkdf2_sha256"], ["PASSWORD_FORMAT", "PASSWORD_HASHER", "bcrypt or argon2"]),
    (["PASSWORD_HASHER": "bcrypt_sha256"], ["PASSWORD_FORMAT", "PASSWORD_HASHER", "bcrypt or argon2"]),
    (["PASSWORD_HASHER": "scrypt"], ["PASSWORD_FORMAT", "PASSWORD_HASHER", "bcrypt or argon2"]),
    (["PASSWORD_HASHER": "rot13"], ["PASSWORD_HASHER must be one of"]),
    (["PASSWORD_HASHER_OPTIONS": "iterations=10"], ["The options of bcrypt are rounds"]),
    (["PASSWORD_FORMAT_OPTIONS": "ident"], ["PASSWORD_FORMAT_OPTIONS must be pairs"]),
    (["PASSWORD_FORMAT_OPTIONS": "ident=2y,ident=2y"], ["PASSWORD_FORMAT_OPTIONS must be pairs"]),
    (["PASSWORD_FORMAT_OPTIONS": "ident=2x"], ["PASSWORD_FORMAT_OPTIONS", "2a, 2b or 2y"]),
    (["PASSWORD_FORMAT_OPTIONS": "ident=2y", "PASSWORD_HASHER": "argon2"], ["PASSWORD_FORMAT_OPTIONS", "PASSWORD_HASHER=bcrypt"]),
    (["PASSWORD_FORMAT_OPTIONS": "cost=4"], ["PASSWORD_FORMAT_OPTIONS", "ident and prefix"]),
    (["PASSWORD_FORMAT_OPTIONS": "prefix={a$b}"], ["PASSWORD_FORMAT_OPTIONS", "name in braces"]),
    (["PASSWORD_FORMAT_OPTIONS": "prefix={argon2}"], ["PASSWORD_FORMAT_OPTIONS", "PASSWORD_HASHER", "same algorithm"]),
  ])
  func `whose password format does not fit the hasher says once which settings to change`(_ settings: [String: String], _ expected: [String]) {
    let environment = Self.good.merging(settings) { $1 }.merging(["PASSWORD_FORMAT": "crypt"]) { $1 }
    let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
    #expect(error?.findings.count == 1)
    for text in expected { #expect(error?.description.contains(text) == true, "\(error?.description ?? "")") }
  }

  @Test func `in the format crypt hashes with bcrypt by default, and takes the options of the format from a mapping`() throws {
    let passwords = try Settings(environment: Self.good.merging(["PASSWORD_FORMAT": "crypt"]) { $1 }).passwords
    #expect(passwords.hashers.preferred.algorithm == "bcrypt")
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).yaml")
    defer { try? FileManager.default.removeItem(at: file) }
    try Data("{PASSWORD_FORMAT: crypt, PASSWORD_HASHER_OPTIONS: {rounds: 4}, PASSWORD_FORMAT_OPTIONS: {ident: 2a, prefix: '{bcrypt}'}}".utf8).write(
      to: file)
    let settings = try Settings(environment: Self.good.merging(["PASSWORD_RESET_CONFIG": file.path]) { $1 })
    #expect(try settings.passwords.hashers.encode("password").hasPrefix("{bcrypt}$2a$04$"))
  }

  @Test func `ignores the variables that Kubernetes sets for a service named password-reset`() throws {
    let names = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8080_TCP", "PORT_8080_TCP_PROTO", "PORT_8080_TCP_ADDR"]
    let variables = names.map { ("PASSWORD_RESET_\($0)", "tcp://10.0.0.1:8080") }
    _ = try Settings(environment: Self.good.merging(variables) { $1 })
  }

  @Test(arguments: [
    "127.0.0.1:8480", "http://127.0.0.1", "0", "8480", "256.1.1.1", "127.1", "[::1]", "[::1]:8480", "::1/128", "::g", "-host", "a..b", "a b", "**",
    "*:80", "fe80::1%", "h\u{f6}st", ".", "0x7f000001",
  ])
  func `refuses a value that is neither an address nor a host name for both listeners`(_ host: String) throws {
    for name in ["HTTP_HOST", "ADMIN_HOST"] {
      let error = #expect(throws: SettingsError.self) { try Settings(environment: Self.good.merging([name: host]) { $1 }) }
      #expect(error?.findings.map(\.setting?.rawValue) == [name])
    }
  }

  @Test(arguments: ["127.0.0.1", "::1", "::", "0.0.0.0", "fe80::1%eth0", "localhost", "reset.example.com.", "password_reset", "10-0-0-1.pod"])
  func `accepts addresses and host names to listen on`(_ host: String) throws {
    let http = try Settings(environment: Self.good.merging(["HTTP_HOST": host, "ADMIN_HOST": host]) { $1 }).http
    #expect(http.host == host && http.adminHost == host)
  }

  @Test func `takes an asterisk for all addresses`() throws {
    let http = try Settings(environment: Self.good.merging(["HTTP_HOST": "*", "ADMIN_HOST": "*"]) { $1 }).http
    #expect(["::", "0.0.0.0"].contains(http.host) && http.adminHost == http.host)
    #expect(HealthCommand.url(host: http.host, port: 1, isTLS: false).contains(/\/\/(\[::1\]|127\.0\.0\.1):1\//))
  }

  @Test func `needs two ports, unless the system chooses them`() throws {
    for environment in [["HTTP_PORT": "8081"], ["ADMIN_PORT": "8080"], ["HTTP_PORT": "9000", "ADMIN_PORT": "9000"]] {
      let error = #expect(throws: SettingsError.self) { try Settings(environment: Self.good.merging(environment) { $1 }) }
      #expect(error?.findings.map(\.kind) == [.conflictingSettings])
    }
    _ = try Settings(environment: Self.good.merging(["HTTP_PORT": "0", "ADMIN_PORT": "0"]) { $1 })
  }

  @Test(arguments: [
    ("https://app.example.com/reset/{{uid}}/{{token}}", "placeholders exactly"), ("https://app.example.com/{uid}/{token}/{", "placeholders exactly"),
    ("https://app.example.com/${uid}/${token}", "placeholders exactly"), ("https://app.example.com/%{uid}/{token}", "placeholders exactly"),
    ("https://app.example.com/{uid}/{token}/{lang}", "placeholders exactly"), ("exampleapp://reset/{uid}/{token}", "must begin with https://"),
    ("intent://reset/{uid}/{token}", "must begin with https://"), ("app.example.com/{uid}/{token}", "must begin with https://"),
    ("HTTPS://app.example.com/{uid}/{token}", "must begin with https://"), ("https://app.example.com/{uidb64}/{token}", "contains {uid} and {token}"),
    ("https://app.example.com/{UID}/{TOKEN}", "contains {uid} and {token}"),
    ("https://app.example.com/%7Buid%7D/%7Btoken%7D", "contains {uid} and {token}"),
    ("https://{uid}.example.com/{token}", "contains {uid} and {token}"), ("https://app.example.com/{uid}/{token}\"", "cannot be part of a URL"),
    ("https://app.example.com/<{uid}>/{token}", "cannot be part of a URL"), ("https://app.example.com/{uid} {token}", "cannot be part of a URL"),
    ("https:///{uid}/{token}", "valid host"), ("https://app.example.com:/{uid}/{token}", "valid host"),
    ("https://app.example.com:99999/{uid}/{token}", "valid host"), ("https://user@app.example.com/{uid}/{token}", "valid host"),
    ("https://app..example.com/{uid}/{token}", "valid host"), ("https://app,www.example.com/{uid}/{token}", "valid host"),
  ])
  func `says what is wrong with the address of the links`(_ url: String, _ message: String) {
    let error = #expect(throws: SettingsError.self) { try Settings(environment: Self.good.merging(["RESET_URL": url]) { $1 }) }
    #expect(error?.findings.count == 1 && error?.description.contains(message) == true, "\(error?.description ?? "")")
    #expect(error?.description.contains(url) == false)
  }

  @Test(arguments: [
    "https://app.example.com/reset#{uid}/{token}", "https://app.example.com:8443/?uid={uid}&token={token}", "http://localhost:3000/{uid}/{token}",
    "https://b\u{fc}cher.example/{uid}/{token}", "http://[::1]:8080/{uid}/{token}", "https://192.0.2.1/{uid}-{token}",
    "https://app.example.com/#/{uid}/{token}?again={uid}",
  ])
  func `accepts every address that can be a link`(_ url: String) throws {
    #expect(try Settings(environment: Self.good.merging(["RESET_URL": url]) { $1 }).links.resetURL.text == url)
  }

  @Test(arguments: ["tcp://10.96.0.7:25", "udp://10.96.0.7:53", "sctp://[fd00::7]:25", "tcp://[::1]:1"])
  func `ignores a port that Kubernetes set to the address of a service`(_ value: String) throws {
    let environment = Self.good.merging(["EMAIL_PORT": value, "HTTP_PORT": value, "ADMIN_PORT": value, "EMAIL_SERVICE_HOST": "10.96.0.7"]) { $1 }
    let settings = try Settings(environment: environment)
    #expect(settings.mail.smtp.port == 25 && settings.http.port == 8080 && settings.http.adminPort == 8081)
    #expect(settings.warnings.map(\.kind) == [.ignoredPort, .ignoredPort, .ignoredPort])
    #expect(throws: SettingsError.self) { try Settings(environment: Self.good.merging(["EMAIL_PORT": "http://10.96.0.7:25"]) { $1 }) }
  }

  @Test func `shares an environment with a Django site`() throws {
    let environment = [
      "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend", "EMAIL_SUBJECT_PREFIX": "[Shop] ", "EMAIL_USE_LOCALTIME": "False",
      "EMAIL_TIMEOUT": "",
      "CORS_ALLOW_CREDENTIALS": "True", "CORS_ALLOW_ALL_ORIGINS": "False", "CORS_ORIGIN_WHITELIST": "https://a.example",
      "EMAIL_URL": "smtp://u:hunter2@h:25",
      "PASSWORD_HASHERS": "[]", "DEBUG": "True", "ALLOWED_HOSTS": "*", "LOG_LEVEL": "INFO", "LANGUAGE_CODE": "en-us",
      "DATABASE_URL": "sqlite:///db.sqlite3",
    ]
    let settings = try Settings(environment: Self.good.merging(environment) { $1 })
    #expect(settings.mail.backend == .smtp && settings.http.allowedOrigins.allowsCredentials && settings.database.path == "db.sqlite3")
    #expect(settings.warnings.map(\.kind) == [.settingOfDjango])
    let text = settings.warnings.first?.message ?? ""
    #expect(text.contains("CORS_ORIGIN_WHITELIST") && text.contains("EMAIL_URL") && !text.contains("hunter2") && !text.contains("DEBUG"))
    #expect(throws: SettingsError.self) { try Settings(environment: Self.good.merging(["EMAIL_SUBJECT_PREFFIX": "x"]) { $1 }) }
  }

  @Test(arguments: [("filebased", "file"), ("locmem", "memory"), ("console", "console"), ("dummy", "dummy")])
  func `takes Django's names of email backends`(_ name: String, _ expected: String) throws {
    let environment = ["EMAIL_BACKEND": "django.core.mail.backends.\(name).EmailBackend", "EMAIL_FILE_PATH": "mails"]
    #expect(try Settings(environment: Self.good.merging(environment) { $1 }).mail.backend.rawValue == expected)
  }

  @Test(arguments: [
    ("RESETURL", "RESET_URL"), ("DEFAULT_FROM_MAIL", "DEFAULT_FROM_EMAIL"), ("TIMEZONE", "TIME_ZONE"), ("HTPT_PORT", "HTTP_PORT"),
    ("SITE_NAMES", "SITE_NAME"),
    ("DATABASE_URI", "DATABASE_URL"), ("http_port", "HTTP_PORT"), ("LOG_LEVLE", "LOG_LEVEL"), ("ADMIN_HOTS", "ADMIN_HOST"),
    ("ECRET_KEY", "SECRET_KEY"),
  ])
  func `warns about a name that is one typo away from a setting`(_ name: String, _ setting: String) throws {
    let warnings = try Settings(environment: Self.good.merging([name: "hunter2"]) { $1 }).warnings
    #expect(warnings.map(\.kind) == [.similarName])
    #expect(warnings.first?.message.contains(name) == true && warnings.first?.hint?.contains(setting) == true)
    #expect(try Settings(environment: Self.good.merging([name: ""]) { $1 }).warnings.isEmpty)
  }

  @Test(arguments: [
    "HTTP_PROXY", "http_proxy", "HOST", "PORT", "TZ", "LANG", "HOSTNAME", "LOGNAME", "HTTPS_PORT", "SSL_CERT_FILE", "SSL_CERT_DIR", "SITE_ID", "TIME",
  ])
  func `does not warn about variables of other programs`(_ name: String) throws {
    let value = name == "SSL_CERT_FILE" ? "" : "x"
    #expect(try Settings(environment: Self.good.merging([name: value]) { $1 }).warnings.isEmpty)
  }

  @Test(arguments: [
    ("0.0.0.0/0", true), ("::/0", true), ("0.0.0.0/1,128.0.0.0/1", true), ("10.0.0.0/7", true), ("2000::/3", true),
    ("::/64", true),
    ("10.0.0.1,0.0.0.0/0", true), ("10.0.0.0/8", false), ("172.16.0.0/12,::1", false), ("fc00::/7", false), ("fe80::/10,2001:db8::/32", false),
    ("127.0.0.1", false), ("2001::/16", false),
  ])
  func `warns about trusted proxies that cover everyone`(_ proxies: String, _ isWarning: Bool) throws {
    let settings = try Settings(environment: Self.good.merging(["TRUSTED_PROXIES": proxies]) { $1 })
    #expect(Checks.ofSettings(settings).contains { $0.kind == .trustsEveryone } == isWarning)
  }

  @Test func `warns about settings that the backend does not use`() throws {
    let environment = [
      "EMAIL_BACKEND": "sendmail", "EMAIL_SENDMAIL_COMMAND": "/bin/true", "EMAIL_HOST_USER": "mailer", "EMAIL_HOST_PASSWORD": "hunter2",
    ]
    let findings = Checks.ofSettings(try Settings(environment: Self.good.merging(environment) { $1 })).filter { $0.kind == .unusedSetting }
    #expect(findings.count == 1 && findings.first?.message.hasSuffix("EMAIL_HOST_USER, EMAIL_HOST_PASSWORD.") == true)
    let smtp = try Settings(environment: Self.good.merging(["EMAIL_FILE_PATH": "mails", "EMAIL_HOST": "mail.example.com"]) { $1 })
    #expect(Checks.ofSettings(smtp).filter { $0.kind == .unusedSetting }.map { $0.message.hasSuffix(": EMAIL_FILE_PATH.") } == [true])
  }

  @Test func `shows every setting next to all errors`() throws {
    let environment = ["SECRET_KEYS": "x", "HTTP_PORT": "hunter2", "EMAIL_TEMPLATES_DIR": "/nowhere", "SITE_NAME": "Shop", "EMAIL_FILE_PATH": "a\nb"]
    let error = try #require(#expect(throws: SettingsError.self) { try Settings(environment: environment) })
    #expect(Set(error.findings.map(\.kind)) == [.unknownSetting, .invalidSetting, .missingSetting, .invalidMailContent])
    #expect(Set(error.effective.keys) == Set(SettingName.allCases))
    #expect(error.effective[.siteName] == EffectiveSetting(value: "Shop", source: "environment"))
    #expect(
      error.effective[.httpPort]?.value == nil && error.effective[.httpPort]?.source == "environment" && error.effective[.httpPort]?.error != nil)
    #expect(error.effective[.secretKey]?.error?.contains("is required") == true && error.effective[.emailBackend]?.error != nil)
    #expect(error.effective[.emailFilePath]?.source == "environment" && error.effective[.emailFilePath]?.error != nil)
  }

  @Test(arguments: [
    ("sqlite:///a/b.db", "a/b.db"), ("sqlite:///db.sqlite3", "db.sqlite3"), ("sqlite:a/b.db", "a/b.db"), ("sqlite:/a/b.db", "/a/b.db"),
    ("sqlite:////a/b.db", "/a/b.db"),
  ])
  func `contains the path of the database file`(_ url: String, _ path: String) throws {
    #expect(try Settings(environment: Self.good.merging(["DATABASE_URL": url]) { $1 }).database.path == path)
  }

  @Test(arguments: [
    ("postgresql://u:canary@h/d", "postgresql://u:********@h/d"), ("postgres://u:ca@nary@h/d", "postgres://u:********@h/d"),
    ("postgresql://h:1,h:2/d?password=canary&sslmode=require", "postgresql://h:1,h:2/d?password=********&sslmode=require"),
    ("postgresql:///d?sslpassword=canary", "postgresql:///d?sslpassword=********"), ("postgresql://u@h:1/d", "postgresql://u@h:1/d"),
  ])
  func `shows no password in the URL of a database`(_ url: String, _ shown: String) {
    #expect(DatabaseLocation.shown(url: url) == shown)
    let location = DatabaseLocation.postgreSQL(url: url, password: "canary", loginZone: "UTC")
    #expect("\(location)" == shown && !"\(PostgresAddress(url: url, password: "canary"))".contains("canary"))
  }

  @Test func `accepts Django's password validators, with their options and order`() throws {
    let list = FileManager.default.temporaryDirectory.appendingPathComponent("list-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: list) }
    try Data("  xyzzy-plugh \nr\u{e9}sum\u{e9}-2026\n".utf8).write(to: list)
    let json = """
      [{"NAME": "CommonPasswordValidator", "OPTIONS": {"password_list_path": "\(list.path)"}},
       {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
       {"NAME": "UserAttributeSimilarityValidator", "OPTIONS": {"user_attributes": ["email"], "max_similarity": 1}},
       {"NAME": "CurrentPasswordValidator"}, {"NAME": "MaximumLengthValidator", "OPTIONS": {"max_length": 20}}]
      """
    let rules = try Settings(environment: Self.good.merging(["AUTH_PASSWORD_VALIDATORS": json]) { $1 }).passwords.rules
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
    let none = try Settings(environment: Self.good.merging(["AUTH_PASSWORD_VALIDATORS": "[]"]) { $1 }).passwords.rules
    #expect(none.validators.compactMap { $0.validate(String(repeating: "1", count: 1025), user: user)?.code } == ["password_too_long"])
  }

  @Test func `gives the rule about words the site's name, its domains and the operator's list`() throws {
    let list = FileManager.default.temporaryDirectory.appendingPathComponent("words-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: list) }
    try Data(" Zugspitze \r\n\nKölsch\n".utf8).write(to: list)
    let json = #"[{"NAME": "ContextWordsValidator", "OPTIONS": {"words": ["ab"], "words_path": "\#(list.path)", "min_other_characters": 3}}]"#
    let settings = try Settings(
      environment: Self.good.merging([
        "AUTH_PASSWORD_VALIDATORS": json, "SITE_NAME": "Blue Heron & Co", "DEFAULT_FROM_EMAIL": "Heron <noreply@mail.sand-piper.example>",
        "RESET_URL": "https://www.kingfisher.co.uk/reset/{uid}/{token}",
      ]) { $1 })
    let validator = try #require(settings.passwords.rules.validators.first as? ContextWordsValidator)
    let user = UserAttributes(username: "", firstName: "", lastName: "", email: "")
    let refused = ["blue12", "heron12", "blueheron12", "sandpiper1", "sand-1", "kingfisher1", "zugspitze1", "KOLSCH", "ab1", "blueheronco"]
    for password in refused { #expect(validator.validate(password, user: user) != nil, "\(password)") }
    for password in ["co123", "mail12", "example1", "reset1", "www123", "noreply1"] {
      #expect(validator.validate(password, user: user) == nil, "\(password)")
    }
  }

  @Test(arguments: ["http://127.0.0.1:8080/{uid}/{token}", "http://[::1]:8080/{uid}/{token}", "https://localhost/{uid}/{token}"])
  func `makes no words of a URL without a domain`(_ url: String) {
    let domain = ResetURL(url)?.domain ?? ""
    #expect(SiteWords(siteName: "BBC", domains: [domain]).words(minimumLength: 4).isEmpty)
    #expect(SiteWords(siteName: "楽天", domains: [domain, "xn--bcher-kva.example"]).words(minimumLength: 4) == ["楽天", "楽天", "楽天"])
  }

  @Test func `needs the site's names only for the rule that uses them`() throws {
    let environment = ["RESET_URL": "ftp://nowhere", "AUTH_PASSWORD_VALIDATORS": #"[{"NAME": "PasswordHistoryValidator", "OPTIONS": {"count": 6}}]"#]
    #expect(try PasswordPolicySettings(environment: environment).rules.historyLength == 6)
    let words = environment.merging(["AUTH_PASSWORD_VALIDATORS": #"[{"NAME": "ContextWordsValidator"}]"#]) { $1 }
    #expect(throws: SettingsError.self) { try PasswordPolicySettings(environment: words) }
  }

  @Test func `is read by group, so that a command ignores the errors in the others`() throws {
    let environment = ["DATABASE_URL": "sqlite:site.sqlite3", "EMAIL_BACKEND": "pigeon", "HTTP_PORT": "http"]
    #expect(try DatabaseSettings(environment: environment).path == "site.sqlite3")
    #expect(try MailContentSettings(environment: environment).siteName == "localhost")
    // The default of RESET_URL contains HTTP_PORT, which two groups read; its error is reported once.
    for read in [{ _ = try LinkSettings(environment: environment) }, { _ = try HTTPSettings(environment: environment) }] {
      #expect(throws: SettingsError([Finding(.invalidSetting, "HTTP_PORT must be a whole number between 0 and 65535.", setting: .httpPort)])) {
        try read()
      }
    }
  }

  @Test func `reports all errors at once`() {
    let error = #expect(throws: SettingsError.self) { try Settings(environment: ["HTTP_PORT": "x", "LOG_LEVEL": "y", "EMAIL_BACKEND": "file"]) }
    #expect(error?.findings.count == 4)
  }

  @Test(arguments: ["SECRET_KEY_FALLBACK", "SECRET_KEYS", "SECRET_KEY_FIEL"])
  func `reports a missing secret key in addition to an unknown setting that begins with its name`(_ unknown: String) {
    let error = #expect(throws: SettingsError.self) { try Settings(environment: ["EMAIL_BACKEND": "smtp", unknown: "x"]) }
    #expect(error?.findings.map(\.kind) == [.unknownSetting, .missingSetting])
  }

  @Test(arguments: [
    "noreply@example.com", "Example <noreply@example.com>", #""Example, Inc." <noreply@example.com>"#, #""The \"Site\"" <o'brien@example.com>"#,
    "Site's <noreply@example.com>",
  ])
  func `accepts a sender with quotation marks in its name`(_ sender: String) throws {
    #expect(try Settings(environment: Self.good.merging(["DEFAULT_FROM_EMAIL": sender]) { $1 }).mail.content.sender == sender)
  }

  @Test func `derives the default port from the kind of TLS`() throws {
    #expect(try Settings(environment: Self.good.merging(["EMAIL_USE_TLS": "True"]) { $1 }).mail.smtp.port == 587)
    #expect(try Settings(environment: Self.good.merging(["EMAIL_USE_SSL": "1"]) { $1 }).mail.smtp.port == 465)
    #expect(throws: SettingsError.self) { try Settings(environment: Self.good.merging(["EMAIL_USE_SSL": "1", "EMAIL_USE_TLS": "1"]) { $1 }) }
  }

  @Test func `for development needs no settings, and stores its secret key`() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("dev-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let environment = ["DATABASE_URL": "sqlite:\(folder)/dev.sqlite3"]
    let first = try Settings(environment: environment, dev: true)
    #expect(try Settings(environment: environment, dev: true).tokens.secretKey == first.tokens.secretKey)
    #expect(first.tokens.secretKey.count == 64 && first.mail.backend == .console && first.mail.addressLimits.isEmpty)
    #expect(first.http.requestLimits.isEmpty && first.http.linkLimits.isEmpty)
    let attributes = try FileManager.default.attributesOfItem(atPath: "\(folder)/dev.sqlite3.secret-key")
    #expect(attributes[.posixPermissions] as? Int == 0o600)
  }

  @Test func `has a row in the documentation for each setting, with its default`() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let text = try String(contentsOf: root.appendingPathComponent("docs/configuration.md"), encoding: .utf8)
    let rows = text.matches(of: #/(?m)^\| `([A-Z0-9_]+)` \| (.*?) \| /#)
    #expect(rows.map { String($0.1) } == SettingName.allCases.map(\.rawValue))
    for row in rows {
      let name = try #require(SettingName(rawValue: String(row.1)))
      guard let defaultValue = name.defaultValue else { continue }
      #expect(row.2 == "`\(defaultValue)`", "\(name.rawValue)")
    }
  }
}
