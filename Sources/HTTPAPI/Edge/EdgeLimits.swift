import NIOCore

/// What a client may take of the service: bytes, time and connections.
public struct EdgeLimits: Sendable {
  /// From the first byte of a request, or from the opening of the connection, to the request's last byte.
  let request = TimeAmount.seconds(10)
  /// How long a connection may be kept without a request. More than the minute after which proxies commonly give theirs up.
  let idle = TimeAmount.seconds(75)
  /// The same while more than half of the places are taken.
  let crowdedIdle = TimeAmount.seconds(10)
  /// How long the client may leave a response where it is.
  let unread = TimeAmount.seconds(10)
  /// How long whoever is told to close may go on sending when the kernel has taken the response: a connection that is closed at once would take it along.
  let farewell = TimeAmount.seconds(2)
  /// How many bytes it may send meanwhile.
  let farewellBytes = 64 * 1024
  /// When the service stops: how long it waits for the rest of a request, or for a client to read.
  let stop = TimeAmount.seconds(1)
  /// After so long, or so many requests, a connection is closed with the next response.
  let age = TimeAmount.minutes(15)
  let requests = 1000
  /// How many connections there may be; further ones wait until one closes.
  let connections: Int

  /// How many connections may wait in the kernel's queue; no more than net.core.somaxconn.
  static let backlog = 4096
  /// Taken from a socket at once.
  static let readBytes = 16 * 1024
  static let uriBytes = 4096
  static let fieldBytes = 8 * 1024
  static let fieldsBytes = 16 * 1024
  static let fields = 64
  /// What the framing of a chunked body may take beside the data, roughly.
  static let framingBytes = 8 * 1024
  /// A stream of HTTP/2, or a connection that is to be closed, is closed after so long, whatever it waits for.
  static let stream = TimeAmount.seconds(60)

  public init(connections: Int) { self.connections = connections }

  /// The files that the service needs open beside connections: database, mail, log.
  private static let otherDescriptors = 128
  private static let mostConnections = 20_000

  /// For a process that may have `descriptors` files open; nil if those are too few to run at all.
  public init?(descriptors: Int) {
    guard descriptors >= 2 * Self.otherDescriptors else { return nil }
    self.init(connections: min(descriptors - Self.otherDescriptors, Self.mostConnections))
  }
}
