import Foundation
import Hummingbird
import Logging
import PasswordReset

/// The three operations on the wire.
struct ResetHandlers: Sendable {
  private static let accepted = "If an account matches, we have emailed instructions for setting a new password."
  private static let done = "Your password has been set. You may go ahead and log in now."

  let service: PasswordResetService

  /// `POST /password-reset`: the same reply for every well-formed request.
  @Sendable func request(_ request: Request, _ context: ResetRequestContext) async throws -> Response {
    let body = try await JSONBody.members(of: request)
    let form = PasswordResetForm(email: body.field("email"), username: body.field("username"), locale: body.field("locale"))
    do {
      try await service.requestReset(form, requestID: context.requestID)
    } catch {
      throw report(error, context)
    }
    return jsonResponse(.accepted, ["detail": Self.accepted])
  }

  /// `GET /password-reset/{uidb64}/{token}`: changes nothing, tells nothing of the account.
  @Sendable func check(_ request: Request, _ context: ResetRequestContext) async throws -> Response {
    let state: LinkState
    do {
      state = try await service.checkLink(uidb64: context.part("uidb64"), token: context.part("token"))
    } catch {
      throw report(error, context)
    }
    return switch state {
    case .valid(let expiresAt):
      jsonResponse(.ok, ValidLink(expires_at: expiresAt.ISO8601Format(), password_rules: service.passwordRules))
    case .invalid: jsonResponse(.ok, InvalidLink(code: ProblemCode.invalidLink.rawValue, detail: Problem.invalidLinkDetail))
    case .expired: jsonResponse(.ok, InvalidLink(code: ProblemCode.expiredLink.rawValue, detail: Problem.expiredLinkDetail))
    }
  }

  /// `POST /password-reset/{uidb64}/{token}`: sets the password, once.
  @Sendable func confirm(_ request: Request, _ context: ResetRequestContext) async throws -> Response {
    let body = try await JSONBody.members(of: request)
    let form = SetPasswordForm(newPassword1: body.field("new_password1"), newPassword2: body.field("new_password2"))
    do {
      try await service.setPassword(form, uidb64: context.part("uidb64"), token: context.part("token"), requestID: context.requestID)
    } catch {
      throw report(error, context, link: true)
    }
    return jsonResponse(.ok, ["detail": Self.done])
  }

  private func report(_ error: PasswordResetError, _ context: ResetRequestContext, link: Bool = false) -> Problem {
    if case .unavailable(let reason) = error { context.logger.error("Request refused", metadata: ["reason": "\(reason)"]) }
    return Problem(error, link: link)
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

extension ResetRequestContext {
  /// A part of the path as it was sent; it is compared, never decoded.
  fileprivate func part(_ name: String) -> String { parameters[Substring(name)].map(String.init) ?? "" }
}
