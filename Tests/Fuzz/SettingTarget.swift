@testable import App
import Foundation
@testable import PasswordReset
@testable import PostgresStore

extension FuzzTarget {
  /// Settings in JSON and YAML, and the statements in them: a wrong one is a finding.
  static let settings = FuzzTarget("settings") { bytes in
    let (name, value) = bytes.choose(["AFTER_RESET", "USERS_COLUMNS", "AUTH_PASSWORD_VALIDATORS", "EMAIL_EXTRA_CONTEXT", "FILE", "SQL", "SHORT"])
    // A variable of the environment cannot contain NUL.
    let text = String(value.text.prefix { $0 != "\0" })
    switch name {
    case "FILE":
      let path = try ScratchFolder.write(value, "settings.yaml")
      try check(["PASSWORD_RESET_CONFIG": path])
    case "SQL": try checkStatement(text)
    case "SHORT": try check(Dictionary(uniqueKeysWithValues: shortNames.map { ($0, text) }))
    default: try check([name: text])
    }
  }

  private static let good = ["SECRET_KEY": String(repeating: "k", count: 50), "EMAIL_BACKEND": "smtp"]
  private static let shortNames = [
    "CORS_ALLOWED_ORIGINS", "DATABASE_URL", "DEFAULT_FROM_EMAIL", "HTTP_PORT", "LANGUAGE_CODE", "PASSWORD_HASHER_OPTIONS", "RATE_LIMIT_REQUESTS",
    "RESET_URL", "TIME_ZONE", "TRUSTED_PROXIES", "USERS_TABLE", "WEBHOOK_SECRET", "WEBHOOK_URL",
  ]

  private static func check(_ environment: [String: String]) throws {
    do {
      _ = try Settings(environment: good.merging(environment) { $1 })
    } catch {
      try expect(!error.findings.isEmpty, "settings are refused with a reason")
      for finding in error.findings { try expect(!finding.message.isEmpty, "a finding has a message") }
    }
  }

  private static func checkStatement(_ sql: String) throws {
    _ = AfterReset.Statement.fault(in: sql)
    guard let named = try? NamedParameters(sql, types: ["user_id": "bigint"]) else { return }
    try expect(Set(named.names).isSubset(of: ["user_id"]), "there are no other parameters")
    guard !sql.contains("CAST($1") else { return }
    try expect(named.sql.replacing("CAST($1 AS bigint)", with: ":user_id").utf8.elementsEqual(sql.utf8), "the rest is kept: \(sql)")
  }
}
