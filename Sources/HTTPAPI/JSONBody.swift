import ConnectionGuards
import Hummingbird
import NIOCore
import PasswordReset
import Text

/// A request body that is a JSON object.
struct JSONBody {
  static let maximumSize = RequestSizeLimits.api.bodyBytes

  private let members: [[UInt8]: StrictJSON.Value]

  /// Reads the body. Throws a ``Problem`` if it is not a JSON object, or is too large.
  static func members(of request: Request) async throws -> JSONBody {
    try checkType(of: request)
    return try members(in: await bytes(of: request))
  }

  /// Reads the body, which may also be empty. Without a body, no header has to say what it is: a script's
  /// `fetch(url, {method: "POST"})` sends none.
  static func members(ofOptionalBody request: Request) async throws -> JSONBody {
    let buffer = try await bytes(of: request)
    if buffer.readableBytes == 0 { return JSONBody(members: [:]) }
    try checkType(of: request)
    return try members(in: buffer)
  }

  private static func checkType(of request: Request) throws(Problem) {
    guard MediaType.isIdentity(request.headers[.contentEncoding]) else {
      throw Problem(
        .unsupportedMediaType, "Send the body without compression, and without the header Content-Encoding.", headers: [.acceptEncoding: "identity"])
    }
    guard MediaType.isJSON(request.headers[.contentType]) else {
      throw Problem(.unsupportedMediaType, "Send the body as JSON in UTF-8, with the header Content-Type: application/json.")
    }
  }

  private static func bytes(of request: Request) async throws(Problem) -> ByteBuffer {
    do {
      if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > maximumSize { throw NIOTooManyBytesError(maxBytes: maximumSize) }
      return try await request.body.collect(upTo: maximumSize)
    } catch is NIOTooManyBytesError {
      throw Problem(.payloadTooLarge, "The body is larger than \(maximumSize) bytes.")
    } catch {
      throw Problem(.malformedJSON, "The body is incomplete.")
    }
  }

  private static func members(in buffer: ByteBuffer) throws(Problem) -> JSONBody {
    let value: StrictJSON.Value
    do {
      value = try StrictJSON.parse(buffer.readableBytesView)
    } catch {
      throw Problem(.malformedJSON, "The body is not well-formed JSON: \(error.reason), at byte \(error.offset).")
    }
    guard case .object(let members) = value else { throw Problem(.malformedJSON, "The body must be a JSON object.") }
    return JSONBody(members: members)
  }

  /// Returns the member. `null` counts as missing, because many clients send it that way.
  func field(_ name: String) -> FieldInput {
    switch members[Array(name.utf8)] {
    case nil, .null: .missing
    case .string(let text): .text(text)
    case .boolean, .object, .other: .wrongType
    }
  }

  /// Returns the member, which must be true or false. `null` counts as missing.
  func flag(_ name: String) -> FlagInput {
    switch members[Array(name.utf8)] {
    case nil, .null: .missing
    case .boolean(let value): .value(value)
    case .string, .object, .other: .wrongType
    }
  }
}
