import Foundation
import Hummingbird
import Localization
import NIOCore
import PasswordReset
import Text

/// The replies in which nothing depends on the request but a time, made ready once, in each language.
struct ReadyReplies: Sendable {
  fileprivate struct Wording: Sendable {
    /// Of a good link, before and after the time until which it is one.
    let valid: ValidReply
    let invalid: ByteBuffer
    let expired: ByteBuffer
    let done: ByteBuffer
  }

  private static let accepted = ["detail": "If an account matches, we have emailed instructions for setting a new password."]
  fileprivate static let done = LocalizableMessage("Your password has been set. You may go ahead and log in now.")

  private let acceptance: ByteBuffer
  /// By the language of the messages.
  private let wordings: [String: Wording]

  /// - Parameter rules: those for new passwords.
  init(_ languages: Languages, rules: [LocalizableMessage]) {
    acceptance = Self.body(Self.accepted)
    wordings = Dictionary(languages.all.map { ($0.messagesTag, Wording($0, rules)) }) { first, _ in first }
  }

  /// The same, byte for byte, for every well-formed request, and so always in English.
  var accepted: Response { response(.accepted, acceptance) }

  func done(in language: Language) -> Response { reply(in: language) { $0.done } }

  /// - Parameter state: of the link that was opened.
  func check(_ state: LinkStatus, in language: Language) -> Response {
    reply(in: language) { wording in
      switch state {
      case .valid(let expiresAt): wording.valid.body(until: expiresAt)
      case .invalid: wording.invalid
      case .expired: wording.expired
      }
    }
  }

  private func reply(in language: Language, _ body: (Wording) -> ByteBuffer) -> Response {
    // Each language that can be chosen is there.
    guard let wording = wordings[language.messagesTag] else { return Response(status: .internalServerError) }
    var response = response(.ok, body(wording))
    response.headers[.contentLanguage] = language.messagesTag
    return response
  }

  fileprivate static func body(_ value: some Encodable) -> ByteBuffer {
    // Texts of ours hold nothing that JSON cannot.
    encoded(value) ?? ByteBuffer()
  }
}

private struct ValidReply {
  let start: String
  let end: String

  func body(until expiresAt: Date) -> ByteBuffer {
    let time = expiresAt.rfc3339()
    var buffer = ByteBufferAllocator().buffer(capacity: start.utf8.count + time.utf8.count + end.utf8.count)
    for part in [start, time, end] { buffer.writeString(part) }
    return buffer
  }
}

private struct ValidLink: Encodable {
  var validlink = true
  var expires_at: String
  var password_rules: [String]
}

private struct InvalidLink: Encodable {
  var validlink = false
  var code: String
  var detail: String
}

extension ReadyReplies.Wording {
  fileprivate init(_ language: Language, _ rules: [LocalizableMessage]) {
    // It stands first, as the members are sorted, and no rule can look like it.
    let mark = "\u{0}"
    let valid = String(buffer: ReadyReplies.body(ValidLink(expires_at: mark, password_rules: rules.map(language.text))))
    let parts = valid.split(separator: #"\u0000"#, maxSplits: 1, omittingEmptySubsequences: false)
    self.valid = ValidReply(start: String(parts[0]), end: String(parts.last ?? ""))
    invalid = ReadyReplies.body(InvalidLink(code: ProblemCode.invalidLink.rawValue, detail: language.text(of: Problem.invalidLinkDetail)))
    expired = ReadyReplies.body(InvalidLink(code: ProblemCode.expiredLink.rawValue, detail: language.text(of: Problem.expiredLinkDetail)))
    done = ReadyReplies.body(["detail": language.text(of: ReadyReplies.done)])
  }
}
