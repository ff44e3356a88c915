import Foundation
import Hummingbird
import NIOCore

extension Response {
  init(_ status: HTTPResponse.Status, _ body: ByteBuffer, contentType: String = "application/json") {
    self.init(status: status, headers: [.contentType: contentType], body: .init(byteBuffer: body))
  }

  /// Returns a response with the value as its body. The members are sorted by name.
  static func json(_ status: HTTPResponse.Status, _ value: some Encodable, contentType: String = "application/json") -> Response {
    // All values here can be encoded. If one could not, an empty 500 is the honest response.
    guard let body = jsonBody(value) else { return Response(status: .internalServerError) }
    return Response(status, body, contentType: contentType)
  }
}

/// Returns the value as JSON with sorted members, or `nil` if it cannot be encoded.
func jsonBody(_ value: some Encodable) -> ByteBuffer? {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  return (try? encoder.encode(value)).map { ByteBuffer(bytes: $0) }
}
