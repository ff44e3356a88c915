public import HummingbirdCore
import HummingbirdHTTP2
public import Logging
import NIOCore
import NIOHTTP1
public import Prometheus

/// The listener's side of the HTTP interface, for Hummingbird's `Application`.
public struct Edge: Sendable {
  private let limits: EdgeLimits
  private let certificate: ServerCertificate?
  private let count: ConnectionCount
  private let clocks = ConnectionClocks()
  private let metrics: HTTPMetrics?
  private let logger: Logger

  /// - Parameters:
  ///   - certificate: for HTTP/2 and HTTP/1.1 over TLS; nil for HTTP/1.1 in the clear.
  ///   - metrics: where requests that come to no route are counted.
  public init(limits: EdgeLimits, certificate: ServerCertificate?, metrics: HTTPMetrics?, logger: Logger) {
    self.limits = limits
    self.certificate = certificate
    self.metrics = metrics
    self.logger = logger
    count = ConnectionCount(limit: limits.connections)
  }

  /// Has the connections counted.
  public func measureConnections(in registry: Registry) {
    registry.gauge("password_reset_http_connections", "Connections that are open.") { [count] in Double(count.open) }
    registry.gauge("password_reset_http_connections_limit", "Connections that may be open at once; whoever finds no place waits.") {
      [limit = limits.connections] in Double(limit)
    }
  }

  /// Whether a connection more may come.
  public var availableConnections: any AvailableConnectionsDelegate { count }

  /// How many may wait to be accepted.
  public var backlog: Int { EdgeLimits.backlog }

  /// Hummingbird's channels, each connection within the limits.
  public var server: HTTPServerBuilder {
    let streams = HTTP1Channel.Configuration(
      additionalChannelHandlers: [GuardInstaller(limits: limits, metrics: metrics, logger: logger)],
      httpDecoderConfiguration: .init(
        maxHeaderFieldSize: EdgeLimits.fieldBytes, maxHeaderListSize: EdgeLimits.fieldsBytes, maxHeaderFieldCount: EdgeLimits.fields))
    return HTTPServerBuilder { responder in
      guard let certificate else {
        return GuardedChannel(base: HTTP1Channel(responder: responder, configuration: streams), limits: limits, count: count, clocks: clocks)
      }
      var configuration = HTTP2UpgradeChannel.Configuration(
        idleTimeout: .nanoseconds(limits.idle.nanoseconds), gracefulCloseTimeout: .nanoseconds(limits.farewell.nanoseconds),
        streamConfiguration: streams)
      configuration.maxAgeTimeout = .nanoseconds(limits.age.nanoseconds)
      let channel = try HTTP2UpgradeChannel(tlsConfiguration: certificate.tls, configuration: configuration, responder: responder)
      return GuardedChannel(base: channel, limits: limits, count: count, clocks: clocks)
    }
  }
}

/// A channel of Hummingbird's with a ``ConnectionGuard`` below it.
private struct GuardedChannel<Base: ServerChildChannel>: ServerChildChannel {
  typealias Value = Base.Value

  let base: Base
  let limits: EdgeLimits
  let count: ConnectionCount
  let clocks: ConnectionClocks

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    channel.eventLoop.makeCompletedFuture {
      // What is parsed of requests that a client sends ahead is bounded by a read.
      try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
      try channel.syncOptions?.setOption(
        .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 2048, maximum: EdgeLimits.readBytes))
      let connection = ConnectionGuard(limits: limits, count: count)
      try channel.pipeline.syncOperations.addHandler(connection)
      clocks.clock(of: channel.eventLoop).watch(connection, on: channel.eventLoop)
    }.flatMap { base.setup(channel: channel, logger: logger) }
  }

  func handle(value: Value, logger: Logger) async { await base.handle(value: value, logger: logger) }
}

/// Puts the guards where Hummingbird offers no place: around the parser of an HTTP/1 connection, which is there when this handler is added, or onto a
/// stream of HTTP/2. It does no more.
private final class GuardInstaller: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = NIOAny

  private let limits: EdgeLimits
  private let metrics: HTTPMetrics?
  private let logger: Logger

  init(limits: EdgeLimits, metrics: HTTPMetrics?, logger: Logger) {
    self.limits = limits
    self.metrics = metrics
    self.logger = logger
  }

  func handlerAdded(context: ChannelHandlerContext) {
    do { try install(context) } catch {
      // Without its guards no connection is served.
      context.close(promise: nil)
    }
  }

  private func install(_ context: ChannelHandlerContext) throws {
    let pipeline = context.pipeline.syncOperations
    // A stream of HTTP/2 has none.
    guard let parser = try? pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self) else {
      guard let parent = context.channel.parent else { return context.close(promise: nil) }
      let connection = try parent.pipeline.syncOperations.handler(type: ConnectionGuard.self)
      return try pipeline.addHandler(HTTP2StreamGuard(limits: limits, connection: connection), position: .after(self))
    }
    let meter = FramingMeter()
    let connection = try pipeline.handler(type: ConnectionGuard.self)
    try pipeline.addHandler(meter, position: .before(parser))
    // One request at a time: what a client sends ahead waits, unread but for one read, until the response before it is out.
    let guards: [any ChannelHandler] = [
      HTTPServerPipelineHandler(), HTTP1Guard(connection: connection, meter: meter, metrics: metrics, logger: logger),
    ]
    try pipeline.addHandlers(guards, position: .after(parser))
  }
}
