public import HummingbirdCore
import HummingbirdHTTP2
import Logging
import NIOCore
import NIOHTTP1

extension HTTPServerBuilder {
  /// Builds Hummingbird's channels with guards on each connection: HTTP/1.1, or HTTP/2 and HTTP/1.1 over TLS if there is a certificate.
  /// - Parameter rejectionResponse: makes the responses to requests that the guards reject.
  public static func guarded(
    connections: ConnectionCount, sizes: RequestSizeLimits, certificate: ReloadingCertificate?, rejectionResponse: @escaping RejectionResponder
  ) -> HTTPServerBuilder {
    let limits = ConnectionLimits()
    let wheels = ConnectionTimerWheels()
    let http1 = HTTP1Channel.Configuration(
      additionalChannelHandlers: [GuardInstaller(limits: limits, sizes: sizes, respond: rejectionResponse)],
      httpDecoderConfiguration: .init(
        maxHeaderFieldSize: sizes.parsedHeaderBytes, maxHeaderListSize: sizes.parsedHeaderBytes, maxHeaderFieldCount: sizes.parsedFieldCount))
    return HTTPServerBuilder { responder in
      guard let certificate else {
        return GuardedChannel(base: HTTP1Channel(responder: responder, configuration: http1), limits: limits, count: connections, wheels: wheels)
      }
      var configuration = HTTP2UpgradeChannel.Configuration(
        idleTimeout: .nanoseconds(limits.keepaliveTimeout.nanoseconds),
        gracefulCloseTimeout: .nanoseconds(limits.lingeringTimeout.nanoseconds), streamConfiguration: http1)
      configuration.maxAgeTimeout = .nanoseconds(limits.maxConnectionAge.nanoseconds)
      let channel = try HTTP2UpgradeChannel(tlsConfiguration: certificate.tls, configuration: configuration, responder: responder)
      return GuardedChannel(base: channel, limits: limits, count: connections, wheels: wheels)
    }
  }
}

/// A Hummingbird channel with a ``ConnectionGuard`` below it.
private struct GuardedChannel<Base: ServerChildChannel>: ServerChildChannel {
  typealias Value = Base.Value

  let base: Base
  let limits: ConnectionLimits
  let count: ConnectionCount
  let wheels: ConnectionTimerWheels

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    channel.eventLoop.makeCompletedFuture {
      // One read limits how many pipelined requests are parsed ahead.
      try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
      try channel.syncOptions?.setOption(
        .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 2048, maximum: ConnectionLimits.readBytes))
      let connection = ConnectionGuard(limits: limits, count: count)
      try channel.pipeline.syncOperations.addHandler(connection)
      wheels.wheel(of: channel.eventLoop).watch(connection, on: channel.eventLoop)
    }.flatMap { base.setup(channel: channel, logger: logger) }
  }

  func handle(value: Value, logger: Logger) async { await base.handle(value: value, logger: logger) }
}
