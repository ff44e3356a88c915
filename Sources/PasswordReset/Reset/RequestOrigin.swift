/// Where a request comes from, as the audit and the log name it.
public struct RequestOrigin: Sendable {
  /// The `X-Request-Id` of the response.
  public var requestID: String
  /// The network of the client by which its requests are limited, or `nil` if its address is not known. It is never stored, only
  /// its keyed hash.
  public var clientNetwork: UInt64?

  /// Creates an origin.
  public init(requestID: String, clientNetwork: UInt64? = nil) {
    self.requestID = requestID
    self.clientNetwork = clientNetwork
  }
}
