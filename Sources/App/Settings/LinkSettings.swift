import Foundation
import PasswordReset

/// The links in emails: where they lead, and how long a reset link is valid.
struct LinkSettings: SettingsGroup, Sendable {
  let resetURL: ResetURL
  /// The page on which a user cancels all reset links, or `nil` if the emails have no link to one.
  let cancelURL: ResetURL?
  /// How many seconds a reset link is valid.
  let timeout: Int
  /// Django dates tokens by the local time in this time zone. Emails show times in it.
  let timeZone: TimeZone

  init(from reader: inout SettingsReader) {
    timeout = reader.integer(.passwordResetTimeout, in: 1...31_536_000)
    timeZone = Self.timeZone(from: &reader)
    let ownURL = ResetURL.ofService(port: HTTPSettings.port(from: &reader))
    resetURL = reader.value(.resetURL, default: ownURL.text) { text throws(SettingsReader.Invalid) in
      // With HTTP_PORT=0 the default has no valid port.
      if text == ownURL.text { return ownURL }
      if let fault = ResetURL.fault(in: text) { throw Self.invalid(fault) }
      return ResetURL(text) ?? ownURL
    }
    cancelURL = Self.cancelURL(from: &reader)
    let urls: [(SettingName, ResetURL?)] = [(.resetURL, resetURL), (.cancelURL, cancelURL)]
    for (name, url) in urls where url?.isProtected == false {
      let message = "must begin with https:// unless it leads to this machine, because tokens must not be sent unencrypted."
      reader.addError(name, message, kind: .unprotectedLink)
    }
  }

  private static func cancelURL(from reader: inout SettingsReader) -> ResetURL? {
    guard let text = reader.optionalString(.cancelURL) else { return nil }
    if let fault = ResetURL.fault(in: text) {
      let invalid = invalid(fault)
      reader.addError(.cancelURL, invalid.message, hint: invalid.hint)
    }
    return ResetURL(text)
  }

  private static func invalid(_ fault: ResetURL.Fault) -> SettingsReader.Invalid {
    switch fault {
    case .scheme:
      let hint = "To open an app, use its universal links (iOS) or App Links (Android): any app could claim another scheme, and with it the token."
      return .init("must begin with https://.", hint: hint)
    case .placeholders: return .init("must be a URL that contains {uid} and {token} after the host.")
    case .templateSyntax:
      return .init("must write its placeholders exactly as {uid} and {token}: no other braces, and no $ or % before them.")
    case .host: return .init("must contain a valid host and port, and no user name.")
    case .character: return .init("contains a character that cannot be part of a URL, such as a space or a quotation mark.")
    }
  }

  static func timeZone(from reader: inout SettingsReader) -> TimeZone {
    reader.value(.timeZone, message: "must be a time zone of the tz database, such as Europe/Berlin.", TimeZoneNames.timeZone)
  }
}
