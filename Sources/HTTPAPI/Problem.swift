import ConnectionGuards
import HTTPTypes
import Hummingbird
import Localization
import NIOCore
import PasswordReset
import Text

/// An error response: a problem document of RFC 9457.
struct Problem: Error {
  var code: ProblemCode
  var detail: String
  /// The language of the field errors, and of `detail` if it is for end users. `nil` means English.
  var language: Language?
  /// Whether the link can still be used, or `nil` if the request was not about a link.
  var validlink: Bool?
  var errors: FormErrors?
  var headers: HTTPFields = [:]

  init(_ code: ProblemCode, _ detail: String, validlink: Bool? = nil, errors: FormErrors? = nil, headers: HTTPFields = [:]) {
    self.code = code
    self.detail = detail
    self.validlink = validlink
    self.errors = errors
    self.headers = headers
  }

  static let invalidLinkDetail = LocalizableMessage(
    "The password reset link was invalid, possibly because it has already been used. Please request a new password reset.")
  static let expiredLinkDetail = LocalizableMessage("The password reset link has expired. Please request a new password reset.")
  private static let validationDetail = LocalizableMessage("Please correct the errors below.")

  static let uriTooLong = Problem(.uriTooLong, "The URI is longer than \(RequestSizeLimits.api.uriBytes) bytes.")
  static let notFound = Problem(.notFound, "There is nothing at this path.")
  static let unavailable = Problem(
    .unavailable, "The service is temporarily unavailable. Please try again in a few seconds.", headers: [.retryAfter: "5"])
  static let internalError = Problem(
    .internalError, "Something went wrong on our side. The operator can find the error in the log by the request ID.")

  static func throttled(retryAfter seconds: Int) -> Problem {
    Problem(.throttled, "Too many requests. Please try again in \(seconds) seconds.", headers: [.retryAfter: "\(seconds)"])
  }

  /// Makes the response to an error of the service. `link` says whether the operation was on a link.
  init(_ error: PasswordResetError, in language: Language, link: Bool = false) {
    switch error {
    case .validation(let errors):
      self.init(.validationError, language.text(of: Self.validationDetail), validlink: link ? true : nil, errors: errors)
    case .invalidLink: self.init(.invalidLink, language.text(of: Self.invalidLinkDetail), validlink: false)
    case .expiredLink: self.init(.expiredLink, language.text(of: Self.expiredLinkDetail), validlink: false)
    case .unavailable:
      self = .unavailable
      return
    }
    self.language = language
  }

  func response(requestID: String) -> Response {
    var response = Response.json(code.status, ProblemDocument(self, requestID: requestID), contentType: "application/problem+json")
    response.headers[.contentLanguage] = language?.messagesTag ?? "en"
    for field in headers { response.headers[field.name] = field.value }
    return response
  }
}
