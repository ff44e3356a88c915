import Foundation
import Localization
import NIOCore
import Text

/// The bodies of the successful responses about links, in one language.
struct LocalizedBodies: Sendable {
  let invalid: ByteBuffer
  let expired: ByteBuffer
  let done: ByteBuffer
  /// The body for a password that could be set.
  let acceptable: ByteBuffer
  let cancelled: ByteBuffer
  /// The body for a valid link after its first member, `expires_at`.
  private let validRest: String

  private static let doneDetail = LocalizableMessage("Your password has been set. You may go ahead and log in now.")
  private static let acceptableDetail = LocalizableMessage("You can use this password. It has not been set yet.")
  private static let cancelledDetail = LocalizableMessage(
    "If this link is valid, all password reset links that were sent to you before now have stopped working.")

  init(_ language: Language, _ passwordRules: [LocalizableMessage]) {
    func body(_ value: some Encodable) -> ByteBuffer { jsonBody(value) ?? ByteBuffer() }
    func invalidLink(_ code: ProblemCode, _ detail: LocalizableMessage) -> ByteBuffer {
      body(InvalidLink(code: code.rawValue, detail: language.text(of: detail)))
    }
    invalid = invalidLink(.invalidLink, Problem.invalidLinkDetail)
    expired = invalidLink(.expiredLink, Problem.expiredLinkDetail)
    done = body(["detail": language.text(of: Self.doneDetail)])
    acceptable = body(["detail": language.text(of: Self.acceptableDetail)])
    cancelled = body(["detail": language.text(of: Self.cancelledDetail)])
    validRest = String(String(buffer: body(ValidLink(password_rules: passwordRules.map(language.text)))).dropFirst())
  }

  func valid(until expiresAt: Date) -> ByteBuffer { ByteBuffer(string: #"{"expires_at":""# + expiresAt.rfc3339() + #"","# + validRest) }
}

/// The body for a valid link, without `expires_at`.
private struct ValidLink: Encodable {
  var validlink = true
  var password_rules: [String]
}

private struct InvalidLink: Encodable {
  var validlink = false
  var code: String
  var detail: String
}
