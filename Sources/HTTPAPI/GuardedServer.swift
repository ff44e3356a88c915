public import ConnectionGuards
import Foundation
import HTTPTypes
public import HummingbirdCore
public import Logging
import NIOCore
import NIOHTTP1

extension RequestSizeLimits {
  /// The limits of this interface. A request with two passwords of the longest kind takes a quarter of `bodyBytes`.
  static let api = RequestSizeLimits(uriBytes: 4096, bodyBytes: 16 * 1024)
}

extension HTTPServerBuilder {
  /// Builds guarded channels that answer rejected requests with problem documents, and count and log them.
  /// - Parameters:
  ///   - certificate: for HTTP/2 and HTTP/1.1 over TLS, or `nil` for plain HTTP/1.1.
  ///   - allowedOrigins: the origins of pages that may read the problem documents.
  ///   - metrics: counts the rejections, or `nil` if they are not counted.
  public static func guarded(
    connections: ConnectionCount, certificate: ReloadingCertificate? = nil, allowedOrigins: AllowedOrigins = .none, metrics: HTTPMetrics? = nil,
    logger: Logger
  ) -> HTTPServerBuilder {
    .guarded(connections: connections, sizes: .api, certificate: certificate) { rejection in
      var problem = Problem(rejection.reason)
      allowedOrigins.addFields(to: &problem.headers, for: rejection.origin)
      let requestID = RequestID.make()
      metrics?.recordRejection(rejection.method.flatMap { HTTPRequest.Method($0) }, status: problem.code.status.code)
      logger.info("Request refused", metadata: ["code": "\(problem.code.rawValue)", "request_id": "\(requestID)"])
      return problem.rawResponse(requestID: requestID)
    }
  }
}

extension Problem {
  fileprivate init(_ reason: Rejection.Reason) {
    let sizes = RequestSizeLimits.api
    switch reason {
    case .malformed(let violation): self.init(.malformedRequest, violation)
    case .uriTooLong: self = .uriTooLong
    case .headersTooLarge:
      self.init(
        .headersTooLarge,
        "The headers exceed \(sizes.headerBytes) bytes, or there are more than \(sizes.fieldCount).")
    }
  }

  /// Returns the response for a connection that is closed after it, without Hummingbird's part.
  fileprivate func rawResponse(requestID: String) -> (HTTPResponseHead, ByteBuffer) {
    let body = jsonBody(ProblemDocument(self, requestID: requestID)) ?? ByteBuffer()
    var fields = headers
    fields[.contentType] = "application/problem+json"
    fields[.contentLanguage] = "en"
    fields[.contentLength] = "\(body.readableBytes)"
    fields[.connection] = "close"
    fields[.date] = Self.date.format(Date())
    fields.setCommon(requestID: requestID)
    let status = HTTPResponseStatus(statusCode: code.status.code, reasonPhrase: code.status.reasonPhrase)
    return (HTTPResponseHead(version: .http1_1, status: status, headers: HTTPHeaders(fields.map { ($0.name.rawName, $0.value) })), body)
  }

  /// The date format of RFC 9110, section 5.6.7.
  private static let date = Date.VerbatimFormatStyle(
    format: """
      \(weekday: .abbreviated), \(day: .twoDigits) \(month: .abbreviated) \(year: .padded(4)) \
      \(hour: .twoDigits(clock: .twentyFourHour, hourCycle: .zeroBased)):\(minute: .twoDigits):\(second: .twoDigits) GMT
      """, locale: Locale(identifier: "en_US_POSIX"), timeZone: .gmt, calendar: Calendar(identifier: .gregorian))
}
