import Foundation
import PasswordReset

/// The link in a reset email: where it leads and how long it is valid.
struct LinkSettings: SettingsGroup, Sendable {
  let resetURL: ResetURL
  /// How many seconds a link is valid.
  let timeout: Int
  /// Django dates tokens by the local time in this time zone. Emails show times in it.
  let timeZone: TimeZone

  init(from reader: inout SettingsReader) {
    timeout = reader.integer(.passwordResetTimeout, in: 1...31_536_000)
    timeZone = Self.timeZone(from: &reader)
    let ownURL = ResetURL.ofService(port: HTTPSettings.port(from: &reader))
    resetURL = reader.value(
      .resetURL, default: ownURL.text, message: "must be an http or https URL that contains {uid} and {token}.", ResetURL.init)
    if !resetURL.isProtected {
      let message = "must begin with https:// unless it leads to this machine, because tokens must not be sent unencrypted."
      reader.addError(.resetURL, message, kind: .unprotectedLink)
    }
  }

  static func timeZone(from reader: inout SettingsReader) -> TimeZone {
    reader.value(.timeZone, message: "must be a time zone such as Europe/Berlin.", TimeZone.init(identifier:))
  }
}
