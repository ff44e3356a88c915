import ConnectionGuards
import Credentials
import Foundation
import HTTPTypes
import Hummingbird
import Localization
import NIOCore
import PasswordReset
import Text

/// The stable codes of every error reply; `openapi.yaml` lists them.
public enum ProblemCode: String, Sendable, CaseIterable {
  case malformedJSON = "malformed_json"
  case validationError = "validation_error"
  case invalidLink = "invalid_link"
  case expiredLink = "expired_link"
  case notFound = "not_found"
  case methodNotAllowed = "method_not_allowed"
  case payloadTooLarge = "payload_too_large"
  case unsupportedMediaType = "unsupported_media_type"
  case malformedRequest = "malformed_request"
  case uriTooLong = "uri_too_long"
  case headersTooLarge = "headers_too_large"
  case throttled
  case unavailable
  case internalError = "internal_error"

  var status: HTTPResponse.Status {
    switch self {
    case .malformedJSON, .validationError, .invalidLink, .expiredLink, .malformedRequest: .badRequest
    case .notFound: .notFound
    case .methodNotAllowed: .methodNotAllowed
    case .payloadTooLarge: .contentTooLarge
    case .unsupportedMediaType: .unsupportedMediaType
    case .uriTooLong: .uriTooLong
    case .headersTooLarge: .requestHeaderFieldsTooLarge
    case .throttled: .tooManyRequests
    case .unavailable: .serviceUnavailable
    case .internalError: .internalServerError
    }
  }

  var title: String {
    switch self {
    case .malformedJSON: "Malformed JSON"
    case .validationError: "Validation failed"
    case .invalidLink: "Invalid link"
    case .expiredLink: "Expired link"
    case .notFound: "Not found"
    case .methodNotAllowed: "Method not allowed"
    case .payloadTooLarge: "Payload too large"
    case .unsupportedMediaType: "Unsupported media type"
    case .malformedRequest: "Malformed request"
    case .uriTooLong: "URI too long"
    case .headersTooLarge: "Request header fields too large"
    case .throttled: "Too many requests"
    case .unavailable: "Service unavailable"
    case .internalError: "Internal error"
    }
  }
}

/// An error reply: a problem document of RFC 9457.
struct Problem: Error {
  var code: ProblemCode
  var detail: String
  /// Of the field errors, and of `detail` where it is for people; nil for English throughout.
  var language: Language?
  /// Whether the link can still be used; nil where no link is concerned.
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

  static let uriTooLong = Problem(.uriTooLong, "The address is longer than \(RequestSizeLimits.api.uriBytes) bytes.")
  static let notFound = Problem(.notFound, "There is nothing at this path.")

  static func unavailable() -> Problem {
    Problem(.unavailable, "The service cannot take the request just now. Please try again in a few seconds.", headers: [.retryAfter: "5"])
  }

  /// The reply to an error of an operation; `link` says whether the operation was on a link.
  init(_ error: PasswordResetError, in language: Language, link: Bool = false) {
    switch error {
    case .validation(let errors):
      self.init(.validationError, language.text(of: Self.validationDetail), validlink: link ? true : nil, errors: errors)
    case .invalidLink: self.init(.invalidLink, language.text(of: Self.invalidLinkDetail), validlink: false)
    case .expiredLink: self.init(.expiredLink, language.text(of: Self.expiredLinkDetail), validlink: false)
    case .unavailable:
      self = .unavailable()
      return
    }
    self.language = language
  }

  func response(requestID: String) -> Response {
    var response = jsonResponse(code.status, document(requestID), contentType: "application/problem+json")
    response.headers[.contentLanguage] = language?.messagesTag ?? "en"
    for field in headers { response.headers[field.name] = field.value }
    return response
  }

  func body(requestID: String) -> ByteBuffer? { encoded(document(requestID)) }

  private func document(_ requestID: String) -> ProblemDocument {
    ProblemDocument(
      type: "urn:password-reset:problem:\(code.rawValue)", title: code.title, status: code.status.code, code: code.rawValue, detail: detail,
      validlink: validlink, request_id: requestID, errors: errors?.fields.mapValues { $0.map { FieldErrorDocument($0, in: language) } })
  }
}

private struct ProblemDocument: Encodable {
  var type: String
  var title: String
  var status: Int
  var code: String
  var detail: String
  var validlink: Bool?
  var request_id: String
  var errors: [String: [FieldErrorDocument]]?
}

private struct FieldErrorDocument: Encodable {
  var code: String
  var message: String
  var params: [String: Parameter]?

  init(_ error: FieldError, in language: Language?) {
    code = error.code
    message = language?.text(of: error.localizableMessage) ?? error.message
    params = error.localizableMessage.parameters.isEmpty ? nil : error.localizableMessage.parameters.mapValues(Parameter.init)
  }

  struct Parameter: Encodable {
    var value: LocalizableMessage.Parameter

    init(_ value: LocalizableMessage.Parameter) { self.value = value }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      switch value {
      case .int(let number): try container.encode(number)
      case .string(let text): try container.encode(text)
      }
    }
  }
}

/// A reply with `value` as its body, members in the order of their names.
func jsonResponse(_ status: HTTPResponse.Status, _ value: some Encodable, contentType: String = "application/json") -> Response {
  // Values of ours hold nothing that JSON cannot; were it so, an empty 500 is the honest reply.
  guard let body = encoded(value) else { return Response(status: .internalServerError) }
  return response(status, body, contentType: contentType)
}

/// A reply whose body is ready.
func response(_ status: HTTPResponse.Status, _ body: ByteBuffer, contentType: String = "application/json") -> Response {
  Response(status: status, headers: [.contentType: contentType], body: .init(byteBuffer: body))
}

func encoded(_ value: some Encodable) -> ByteBuffer? {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  return (try? encoder.encode(value)).map { ByteBuffer(bytes: $0) }
}
