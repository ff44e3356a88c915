import HTTPTypes

extension HTTPFields {
  private static let common: HTTPFields = [.cacheControl: "no-store", .referrerPolicy: "no-referrer", .xContentTypeOptions: "nosniff"]

  /// Adds the headers of every response: no caching, no referrer that contains a token, no guessing of types, and the request ID.
  mutating func setCommon(requestID: String) {
    reserveCapacity(count + Self.common.count + 2)
    append(contentsOf: Self.common)
    append(HTTPField(name: .xRequestID, value: requestID))
  }
}

extension HTTPField.Name {
  static let rateLimit = token("RateLimit")
  static let rateLimitPolicy = token("RateLimit-Policy")
  static let referrerPolicy = token("Referrer-Policy")
  static let xForwardedFor = token("X-Forwarded-For")
  static let xRequestID = token("X-Request-Id")

  private static func token(_ name: String) -> HTTPField.Name {
    guard let name = HTTPField.Name(name) else { preconditionFailure("\(name) is not a token of RFC 9110") }
    return name
  }
}
