import NIOCore
import NIOHTTPTypes

/// Watches one stream of HTTP/2: one request and its response.
final class HTTP2StreamGuard: ChannelDuplexHandler, NIOScheduledCallbackHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  private let limits: EdgeLimits
  private let connection: ConnectionGuard
  private let opened = NIODeadline.now()
  private var isReading = true
  private var responded: NIODeadline?
  private var bytesLeft: Int
  private var timer: NIOScheduledCallback?
  private var context: ChannelHandlerContext?

  init(limits: EdgeLimits, connection: ConnectionGuard) {
    self.limits = limits
    self.connection = connection
    bytesLeft = limits.farewellBytes
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    connection.streamOpened()
    look(in: limits.request, context)
  }

  func handlerRemoved(context: ChannelHandlerContext) { leave() }

  func channelInactive(context: ChannelHandlerContext) {
    leave()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head: break
    case .body(let data):
      if responded != nil { bytesLeft -= data.readableBytes }
      if bytesLeft < 0 { return context.close(promise: nil) }
    case .end: isReading = false
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .end = unwrapOutboundIn(data) { responded = .now() }
    context.write(data, promise: promise)
  }

  /// A stream that is there still, though its response was written long ago, has one that nobody reads.
  func handleScheduledCallback(eventLoop: some EventLoop) {
    guard let context else { return }
    let now = NIODeadline.now()
    let isUnread = responded.map { now - $0 >= limits.unread } ?? false
    if isReading || isUnread || now - opened >= EdgeLimits.stream { return context.close(promise: nil) }
    look(in: limits.unread, context)
  }

  private func look(in time: TimeAmount, _ context: ChannelHandlerContext) {
    // It fails only on a loop that is shut down, and with it all connections.
    timer = try? context.eventLoop.assumeIsolated().scheduleCallback(in: time, handler: self)
  }

  private func leave() {
    guard context != nil else { return }
    context = nil
    timer?.cancel()
    connection.streamClosed()
  }
}
