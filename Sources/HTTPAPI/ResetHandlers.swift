import Hummingbird
import Localization
import Logging
import PasswordReset

/// Handlers of the operations of a password reset.
struct ResetHandlers: Sendable {
  private let service: PasswordResetService
  private let languages: Languages
  private let responses: PrebuiltResponses

  init(service: PasswordResetService, languages: Languages) {
    self.service = service
    self.languages = languages
    responses = PrebuiltResponses(languages, passwordRules: service.passwordRules)
  }

  var routes: [Route] {
    [
      Route(.post, "/password-reset", limitedAs: .requests) { request, context, _ in try await self.request(request, context) },
      Route(.get, "/password-reset/{uidb64}/{token}", limitedAs: .links) { request, context, parameters in
        try await check(request, context, uidb64: parameters["uidb64"], token: parameters["token"])
      },
      Route(.post, "/password-reset/{uidb64}/{token}", limitedAs: .links) { request, context, parameters in
        try await confirm(request, context, uidb64: parameters["uidb64"], token: parameters["token"])
      },
      Route(.post, "/password-reset/{uidb64}/{token}/cancel", limitedAs: .links) { request, context, parameters in
        try await cancel(request, context, uidb64: parameters["uidb64"], token: parameters["token"])
      },
    ]
  }

  /// `POST /password-reset`: accepts a request for a reset email. The response does not depend on the account.
  private func request(_ request: Request, _ context: ResetRequestContext) async throws -> Response {
    let body = try await JSONBody.members(of: request)
    let language = language(of: request, body)
    let form = PasswordResetForm(email: body.field("email"), username: body.field("username"), locale: body.field("locale"))
    do {
      try await service.requestReset(form, locale: language.tag, origin: context.origin)
      return responses.accepted
    } catch {
      throw problem(for: error, language, context)
    }
  }

  /// `GET /password-reset/{uidb64}/{token}`: checks a link. It changes nothing and reveals nothing about the account.
  private func check(_ request: Request, _ context: ResetRequestContext, uidb64: String, token: String) async throws -> Response {
    let language = language(of: request)
    do {
      let status = try await service.checkLink(uidb64: uidb64, token: token, origin: context.origin)
      return responses.check(status, in: language)
    } catch {
      throw problem(for: error, language, context)
    }
  }

  /// `POST /password-reset/{uidb64}/{token}`: sets the password, or only checks it. A link works once.
  private func confirm(_ request: Request, _ context: ResetRequestContext, uidb64: String, token: String) async throws -> Response {
    let body = try await JSONBody.members(of: request)
    let language = language(of: request, body)
    let form = SetPasswordForm(
      newPassword1: body.field("new_password1"), newPassword2: body.field("new_password2"), checkOnly: body.flag("check_only"),
      locale: body.field("locale"))
    do {
      try await service.setPassword(form, uidb64: uidb64, token: token, locale: language.tag, origin: context.origin)
      return form.isCheckOnly ? responses.acceptable(in: language) : responses.done(in: language)
    } catch {
      throw problem(for: error, language, context, link: true)
    }
  }

  /// `POST /password-reset/{uidb64}/{token}/cancel`: cancels the user's reset links. The response does not depend on the link.
  private func cancel(_ request: Request, _ context: ResetRequestContext, uidb64: String, token: String) async throws -> Response {
    _ = try await JSONBody.members(ofOptionalBody: request)
    let language = language(of: request)
    do {
      try await service.cancelLinks(uidb64: uidb64, token: token, origin: context.origin)
      return responses.cancelled(in: language)
    } catch {
      throw problem(for: error, language, context)
    }
  }

  /// Returns the language of the response, and of the email that the request leads to.
  private func language(of request: Request, _ body: JSONBody? = nil) -> Language {
    var locale: String?
    if case .text(let tag) = body?.field("locale") { locale = tag }
    return languages.choose(locale: locale, acceptLanguage: request.headers[.acceptLanguage])
  }

  private func problem(for error: PasswordResetError, _ language: Language, _ context: ResetRequestContext, link: Bool = false) -> Problem {
    if case .unavailable(let reason) = error { context.log.error("Request refused", metadata: ["reason": "\(reason)"]) }
    return Problem(error, in: language, link: link)
  }
}
