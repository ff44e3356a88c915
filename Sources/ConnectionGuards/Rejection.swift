public import NIOCore
public import NIOHTTP1

/// A request that the guards reject before the application sees it.
public struct Rejection: Sendable {
  public enum Reason: Sendable {
    /// The request is not valid HTTP, or two servers could read it differently. The text is a sentence for the client's developer.
    case malformed(String)
    case uriTooLong
    case headersTooLarge
  }

  public let reason: Reason
  /// The request's method, or `nil` if the request line could not be read.
  public let method: String?
  /// The request's Origin header, or `nil` if there is none, more than one, or the headers could not be read.
  public let origin: String?
}

/// Makes the response to a rejected request. It must announce `Connection: close`, because the guards close the connection after it.
public typealias RejectionResponder = @Sendable (Rejection) -> (head: HTTPResponseHead, body: ByteBuffer)
