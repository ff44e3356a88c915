import Hummingbird
import Localization
import NIOCore
import PasswordReset
import Text

/// The successful responses, built once at startup in each language. At most the link's expiry time is added to them.
struct PrebuiltResponses: Sendable {
  private static let acceptedDetail = "If an account matches, we have emailed instructions for setting a new password."

  private let acceptedBody = jsonBody(["detail": acceptedDetail]) ?? ByteBuffer()
  /// By the tag of their language.
  private let bodies: [String: LocalizedBodies]

  init(_ languages: Languages, passwordRules: [LocalizableMessage]) {
    bodies = Dictionary(languages.all.map { ($0.messagesTag, LocalizedBodies($0, passwordRules)) }) { first, _ in first }
  }

  /// The response to every well-formed reset request. It is always in English, so that it is the same byte for byte.
  var accepted: Response { Response(.accepted, acceptedBody) }

  func done(in language: Language) -> Response { response(bodies[language.messagesTag]?.done, in: language) }

  func acceptable(in language: Language) -> Response { response(bodies[language.messagesTag]?.acceptable, in: language) }

  func cancelled(in language: Language) -> Response { response(bodies[language.messagesTag]?.cancelled, in: language) }

  func check(_ status: LinkStatus, in language: Language) -> Response {
    let bodies = bodies[language.messagesTag]
    let body =
      switch status {
      case .valid(let expiresAt): bodies?.valid(until: expiresAt)
      case .invalid: bodies?.invalid
      case .expired: bodies?.expired
      }
    return response(body, in: language)
  }

  private func response(_ body: ByteBuffer?, in language: Language) -> Response {
    // `init` covers every language that can be chosen.
    guard let body else { return Response(status: .internalServerError) }
    var response = Response(.ok, body)
    response.headers[.contentLanguage] = language.messagesTag
    return response
  }
}
