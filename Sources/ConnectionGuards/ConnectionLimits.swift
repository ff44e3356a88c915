import NIOCore

/// The times, bytes and requests that one connection may take. The names are those of nginx and gRPC.
struct ConnectionLimits: Sendable {
  /// The largest read from a socket.
  static let readBytes = 16 * 1024

  /// The time from the first byte of a request, or from opening the connection, to the last byte of the request.
  let requestTimeout = TimeAmount.seconds(10)
  /// The time without a request. It exceeds the minute after which proxies usually close their idle connections.
  let keepaliveTimeout = TimeAmount.seconds(75)
  /// The keep-alive timeout while the server is crowded.
  let crowdedKeepaliveTimeout = TimeAmount.seconds(10)
  /// The time in which the client must read some of a response that is waiting for it.
  let sendTimeout = TimeAmount.seconds(10)
  /// How long to keep reading after the kernel has taken the last response. Closing at once with unread data would
  /// reset the connection, and the client could lose the response.
  let lingeringTimeout = TimeAmount.seconds(2)
  let lingeringBytes = 64 * 1024
  /// The longest lingering close, including the time in which the client reads the response slowly.
  let maxLingeringTime = TimeAmount.seconds(60)
  /// The longest time that an HTTP/2 stream may be open.
  let streamTimeout = TimeAmount.seconds(60)
  /// During shutdown: the time for the rest of a request to arrive, or for the client to read.
  let shutdownGrace = TimeAmount.seconds(1)
  /// At this age, the connection is closed with its next response.
  let maxConnectionAge = TimeAmount.minutes(15)
  /// After this many requests, the connection is closed.
  let keepaliveRequests = 1000
}
