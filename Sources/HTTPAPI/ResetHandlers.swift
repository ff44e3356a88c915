import Foundation
import Hummingbird
import Localization
import Logging
import PasswordReset

/// The three operations on the wire.
struct ResetHandlers: Sendable {
  private let service: PasswordResetService
  private let languages: Languages
  private let replies: ReadyReplies

  init(service: PasswordResetService, languages: Languages) {
    self.service = service
    self.languages = languages
    replies = ReadyReplies(languages, rules: service.passwordRules)
  }

  /// `POST /password-reset`: the same reply, byte for byte, for every well-formed request, and so always in English.
  func request(_ request: Request, _ context: ResetRequestContext) async throws -> Response {
    let body = try await JSONBody.members(of: request)
    let language = language(of: request, body)
    let form = PasswordResetForm(email: body.field("email"), username: body.field("username"), locale: body.field("locale"))
    do {
      try await service.requestReset(form, locale: language.tag, requestID: context.requestID)
    } catch {
      throw report(error, language, context)
    }
    return replies.accepted
  }

  /// `GET /password-reset/{uidb64}/{token}`: changes nothing, tells nothing of the account.
  func check(_ request: Request, _ context: ResetRequestContext, uidb64: String, token: String) async throws -> Response {
    let language = language(of: request)
    let state: LinkStatus
    do {
      state = try await service.checkLink(uidb64: uidb64, token: token, requestID: context.requestID)
    } catch {
      throw report(error, language, context)
    }
    return replies.check(state, in: language)
  }

  /// `POST /password-reset/{uidb64}/{token}`: sets the password, once.
  func confirm(_ request: Request, _ context: ResetRequestContext, uidb64: String, token: String) async throws -> Response {
    let body = try await JSONBody.members(of: request)
    let language = language(of: request, body)
    let form = SetPasswordForm(
      newPassword1: body.field("new_password1"), newPassword2: body.field("new_password2"), locale: body.field("locale"))
    do {
      try await service.setPassword(
        form, uidb64: uidb64, token: token, locale: language.tag, requestID: context.requestID)
    } catch {
      throw report(error, language, context, link: true)
    }
    return replies.done(in: language)
  }

  /// The language of the reply, and of the mail that comes of it.
  private func language(of request: Request, _ body: JSONBody? = nil) -> Language {
    var locale: String?
    if case .text(let tag) = body?.field("locale") { locale = tag }
    return languages.choose(locale: locale, acceptLanguage: request.headers[.acceptLanguage])
  }

  private func report(_ error: PasswordResetError, _ language: Language, _ context: ResetRequestContext, link: Bool = false) -> Problem {
    if case .unavailable(let reason) = error { context.log.error("Request refused", metadata: ["reason": "\(reason)"]) }
    return Problem(error, in: language, link: link)
  }
}
