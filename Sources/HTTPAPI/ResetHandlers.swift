import Credentials
import Foundation
import Hummingbird
import Localization
import Logging
import PasswordReset

/// The three operations on the wire.
struct ResetHandlers: Sendable {
  private static let accepted = "If an account matches, we have emailed instructions for setting a new password."
  private static let done = Phrase("Your password has been set. You may go ahead and log in now.")

  let service: PasswordResetService
  let languages: Languages

  /// `POST /password-reset`: the same reply, byte for byte, for every well-formed request, and so always in English.
  @Sendable func request(_ request: Request, _ context: ResetRequestContext) async throws -> Response {
    let body = try await JSONBody.members(of: request)
    let language = language(of: request, body)
    let form = PasswordResetForm(email: body.field("email"), username: body.field("username"), locale: body.field("locale"))
    do {
      try await service.requestReset(form, locale: language.tag, requestID: context.requestID)
    } catch {
      throw report(error, language, context)
    }
    return jsonResponse(.accepted, ["detail": Self.accepted])
  }

  /// `GET /password-reset/{uidb64}/{token}`: changes nothing, tells nothing of the account.
  @Sendable func check(_ request: Request, _ context: ResetRequestContext) async throws -> Response {
    let language = language(of: request)
    let state: LinkState
    do {
      state = try await service.checkLink(uidb64: context.part("uidb64"), token: context.part("token"), requestID: context.requestID)
    } catch {
      throw report(error, language, context)
    }
    return switch state {
    case .valid(let expiresAt):
      jsonResponse(.ok, ValidLink(expires_at: expiresAt.ISO8601Format(), password_rules: service.passwordRules.map(language.text)), in: language)
    case .invalid:
      jsonResponse(.ok, InvalidLink(code: ProblemCode.invalidLink.rawValue, detail: language.text(of: Problem.invalidLinkDetail)), in: language)
    case .expired:
      jsonResponse(.ok, InvalidLink(code: ProblemCode.expiredLink.rawValue, detail: language.text(of: Problem.expiredLinkDetail)), in: language)
    }
  }

  /// `POST /password-reset/{uidb64}/{token}`: sets the password, once.
  @Sendable func confirm(_ request: Request, _ context: ResetRequestContext) async throws -> Response {
    let body = try await JSONBody.members(of: request)
    let language = language(of: request, body)
    let form = SetPasswordForm(
      newPassword1: body.field("new_password1"), newPassword2: body.field("new_password2"), locale: body.field("locale"))
    do {
      try await service.setPassword(
        form, uidb64: context.part("uidb64"), token: context.part("token"), locale: language.tag, requestID: context.requestID)
    } catch {
      throw report(error, language, context, link: true)
    }
    return jsonResponse(.ok, ["detail": language.text(of: Self.done)], in: language)
  }

  /// The language of the reply, and of the mail that comes of it.
  private func language(of request: Request, _ body: JSONBody? = nil) -> Language {
    var locale: String?
    if case .text(let tag) = body?.field("locale") { locale = tag }
    return languages.choose(locale: locale, acceptLanguage: request.headers[.acceptLanguage])
  }

  private func report(_ error: PasswordResetError, _ language: Language, _ context: ResetRequestContext, link: Bool = false) -> Problem {
    if case .unavailable(let reason) = error { context.logger.error("Request refused", metadata: ["reason": "\(reason)"]) }
    return Problem(error, in: language, link: link)
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
}

/// A reply with sentences for people in it.
private func jsonResponse(_ status: HTTPResponse.Status, _ value: some Encodable, in language: Language) -> Response {
  var response = jsonResponse(status, value)
  response.headers[.contentLanguage] = language.messagesTag
  return response
}

extension ResetRequestContext {
  /// A part of the path as it was sent; it is compared, never decoded.
  fileprivate func part(_ name: String) -> String { parameters[Substring(name)].map(String.init) ?? "" }
}
