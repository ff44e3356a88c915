import Credentials
import Foundation

/// The secret keys that sign tokens and hash the identifiers in the audit.
struct TokenSettings: SettingsGroup, Sendable {
  let secretKey: String
  /// Former keys. Links that were signed with them are still valid.
  let secretKeyFallbacks: [String]

  private static let minimumLength = 32

  init(from reader: inout SettingsReader) {
    if reader.isDevelopment, !reader.isSet(.secretKey) { Self.generateKey(&reader) }
    secretKey = Self.secretKey(from: &reader)
    secretKeyFallbacks = Self.fallbacks(from: &reader)
  }

  func generator(for links: LinkSettings) -> PasswordResetTokenGenerator {
    PasswordResetTokenGenerator(secretKey: secretKey, fallbacks: secretKeyFallbacks, timeout: links.timeout, timeZone: links.timeZone)
  }

  private static func secretKey(from reader: inout SettingsReader) -> String {
    guard let key = reader.optionalString(.secretKey) else {
      // Another error may already say why there is no key: its file cannot be read.
      if !reader.hasError(.secretKey) {
        let hint = "Use the Django site's key, or generate one: `openssl rand -base64 48`."
        reader.addError(.secretKey, "is required.", kind: .missingSetting, hint: hint)
      }
      return ""
    }
    if key.unicodeScalars.count < minimumLength {
      reader.addError(.secretKey, "must have at least \(minimumLength) characters.", kind: .shortSecretKey)
    }
    return key
  }

  private static func fallbacks(from reader: inout SettingsReader) -> [String] {
    guard let text = reader.optionalString(.secretKeyFallbacks) else { return [] }
    let keys = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    if !keys.allSatisfy({ $0.unicodeScalars.count >= minimumLength && !$0.contains(where: \.isWhitespace) }) {
      let message = "must be keys of at least \(minimumLength) characters each, separated by commas without spaces."
      reader.addError(.secretKeyFallbacks, message, kind: .shortSecretKey)
    }
    return keys
  }

  /// Makes the key in the file next to the database, or in the current directory if the database is on a server, the
  /// default value. Creates the file if it does not exist.
  private static func generateKey(_ reader: inout SettingsReader) {
    let path = (DatabaseSettings(from: &reader).path ?? "password-reset") + ".secret-key"
    if let data = FileManager.default.contents(atPath: path) {
      let key = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .newlines)
      if key.isEmpty {
        reader.addError(.secretKey, "is not set, and the generated key in \(path) is empty. Remove that file.", kind: .missingSetting)
      }
      return reader.setDevelopmentDefault(.secretKey, key)
    }
    let key = Data((0..<48).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString()
    reader.setDevelopmentDefault(.secretKey, key)
    guard reader.storesKey else { return }
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    do {
      try FileHandle(fileDescriptor: descriptor, closeOnDealloc: true).write(contentsOf: Data((key + "\n").utf8))
    } catch {
      let hint = "Check the path, and whether this user may write to the directory."
      reader.addError(.databaseURL, "names a directory in which no file can be created.", kind: .unusableDatabase, hint: hint)
    }
  }
}
