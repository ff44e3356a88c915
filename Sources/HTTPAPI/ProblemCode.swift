import HTTPTypes

/// The stable codes of all problem documents, as `openapi.yaml` lists them.
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

  var status: HTTPResponse.Status { definition.status }

  var title: String { definition.title }

  private var definition: (status: HTTPResponse.Status, title: String) {
    switch self {
    case .malformedJSON: (.badRequest, "Malformed JSON")
    case .validationError: (.badRequest, "Validation failed")
    case .invalidLink: (.badRequest, "Invalid link")
    case .expiredLink: (.badRequest, "Expired link")
    case .notFound: (.notFound, "Not found")
    case .methodNotAllowed: (.methodNotAllowed, "Method not allowed")
    case .payloadTooLarge: (.contentTooLarge, "Payload too large")
    case .unsupportedMediaType: (.unsupportedMediaType, "Unsupported media type")
    case .malformedRequest: (.badRequest, "Malformed request")
    case .uriTooLong: (.uriTooLong, "URI too long")
    case .headersTooLarge: (.requestHeaderFieldsTooLarge, "Request header fields too large")
    case .throttled: (.tooManyRequests, "Too many requests")
    case .unavailable: (.serviceUnavailable, "Service unavailable")
    case .internalError: (.internalServerError, "Internal error")
    }
  }
}
