import Foundation
import HTTPAPI
import Testing

@testable import App

@Suite struct `A configuration from files and variables` {
  private static let good = ["SECRET_KEY": Harness.secretKey, "EMAIL_BACKEND": "smtp"]

  @Test func `accepts a secret from a file, but not from both places`() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("secret-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try (Harness.secretKey + "\n").write(toFile: path, atomically: true, encoding: .utf8)
    let settings = try Settings(environment: ["SECRET_KEY_FILE": path, "EMAIL_BACKEND": "smtp"])
    #expect(settings.tokens.secretKey == Harness.secretKey)
    #expect(throws: SettingsError.self) { try Settings(environment: Self.good.merging(["SECRET_KEY_FILE": path]) { $1 }) }
  }

  private func file(_ text: String) throws -> [String: String] {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("settings-\(UUID().uuidString)").path
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return ["PASSWORD_RESET_CONFIG": path]
  }

  /// Returns environments with `value`: in a variable, and in the settings file.
  private func environments(_ name: SettingName, _ value: String) throws -> [[String: String]] {
    let environment = Self.good.merging([name.rawValue: value]) { $1 }
    guard name != .config else { return [environment] }
    let data = try JSONSerialization.data(withJSONObject: environment)
    return [environment, try file(String(decoding: data, as: UTF8.self))]
  }

  @Test(arguments: SettingName.allCases.filter { !$0.isJSON })
  func `refuses a line end or another control character in any value, with one error`(_ name: SettingName) throws {
    let lines = ["hunter2\n", "hunter2\r\n", "hunter2\r", "\nhunter2", "hunter2\nhunter2", "\thunter2"]
    // A YAML parser changes these two.
    let onlyInEnvironment = ["hunter2\u{85}", "\u{FEFF}hunter2"]
    for value in lines + onlyInEnvironment {
      for environment in try environments(name, value).prefix(onlyInEnvironment.contains(value) ? 1 : 2) {
        let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
        #expect(error?.findings.map(\.setting) == [name] && error?.findings.map(\.kind) == [.invalidSetting], "\(error?.description ?? "")")
        #expect(error?.description.contains("hunter2") == false)
      }
    }
  }

  @Test(arguments: SettingName.allCases.filter { !$0.isJSON })
  func `accepts quotation marks and white space around free text only, and warns`(_ name: SettingName) throws {
    for (before, after) in [("\"", "\""), ("'", "'"), (" ", ""), ("", " "), ("", "\u{A0}")] {
      // The keys of SECRET_KEY_FALLBACKS must not contain white space.
      if name == .secretKeyFallbacks, after != before { continue }
      let value = "\(before)hunter2-0123456789-0123456789-0123456789\(after)"
      for var environment in try environments(name, value) {
        if name == .emailHostPassword { environment["EMAIL_HOST_USER"] = "mailer" }
        // A webhook's secret has a form, and cannot contain quotation marks.
        if name.isSecret && name != .webhookSecret || name == .siteName {
          let settings = try Settings(environment: environment)
          #expect(settings.warnings.map(\.setting) == [name] && settings.warnings.map(\.kind) == [.doubtfulValue])
          #expect(!"\(settings.warnings)".contains("hunter2"))
          if name == .secretKey { #expect(settings.tokens.secretKey == value) }
        } else {
          let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
          #expect(error?.findings.map(\.setting) == [name], "\(error?.description ?? "")")
          #expect(error?.description.contains("hunter2") == false)
        }
      }
    }
  }

  @Test(arguments: SettingName.allCases.filter(\.isSecret))
  func `ignores line ends after a secret in a file`(_ name: SettingName) throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("secret-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    var environment = Self.good.merging([name.fileVariable: path]) { $1 }
    environment[name.rawValue] = nil
    if name == .emailHostPassword { environment["EMAIL_HOST_USER"] = "mailer" }
    let secret =
      name == .webhookSecret
      ? "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
      : "hunter2=0123456789:[0123456789-0123456789],{0123456789-0123456789-0123456789}"
    // Some editors write a byte order mark before the text.
    for (start, end) in [("\u{FEFF}", ""), ("", ""), ("", "\n"), ("", "\r\n"), ("", "\n\n")] {
      try (start + secret + end).write(toFile: path, atomically: true, encoding: .utf8)
      let settings = try Settings(environment: environment)
      #expect(settings.effective[name] == EffectiveSetting(value: "********", source: name.fileVariable) && settings.warnings.isEmpty)
      if name == .secretKey { #expect(settings.tokens.secretKey == secret) }
    }
    for content in [
      "\(name.rawValue)=\(secret)", "export \(name.rawValue)='\(secret)'", "\(name.rawValue): \(secret)", "\"\(name.rawValue)\": \"\(secret)\"",
      "{\"key\": \"\(secret)\"}", "[\"\(secret)\"]", "['\(secret)']", "\(secret)\n\(secret)",
      String(repeating: secret, count: 2000),
    ] {
      try content.write(toFile: path, atomically: true, encoding: .utf8)
      let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
      #expect(error?.findings.map(\.setting) == [name] && error?.findings.map(\.kind) == [.invalidSetting], "\(error?.description ?? "")")
      #expect(error?.description.contains(name.fileVariable) == true && error?.description.contains(path) == true)
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
  func `is read from a YAML or JSON file, which the environment overrides`(_ text: String) throws {
    let environment = try file(text)
    let settings = try Settings(environment: environment)
    #expect(settings.http.port == 9000 && settings.mail.content.siteName == "null")
    #expect(settings.mail.smtp.port == 587 && settings.mail.smtp.host == "localhost")
    #expect(settings.http.allowedOrigins == AllowedOrigins("https://a.example,https://b.example"))
    #expect(try settings.passwords.hashers.encode("x").hasPrefix("argon2$argon2id$v=19$m=1024,t=1,"))
    #expect(settings.passwords.rules.validators.count == 2)
    #expect(settings.effective[.httpPort] == EffectiveSetting(value: "9000", source: "file"))
    #expect(settings.effective[.secretKey] == EffectiveSetting(value: "********", source: "file"))
    #expect(settings.effective[.adminPort] == EffectiveSetting(value: "8081", source: "default"))
    let other = try Settings(environment: environment.merging(["HTTP_PORT": "9001", "EMAIL_HOST": "mail.example.com"]) { $1 })
    #expect(other.http.port == 9001 && other.mail.smtp.host == "mail.example.com")
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
  func `is as strict in a file, and an error shows no value`(_ text: String, _ kind: String) throws {
    let environment = Self.good.merging(try file(text)) { $1 }
    let error = #expect(throws: SettingsError.self) { try Settings(environment: environment) }
    #expect(error?.findings.map(\.kind.rawValue) == [kind])
    #expect(error?.description.contains("hunter2") == false, "\(error?.description ?? "")")
  }
}
