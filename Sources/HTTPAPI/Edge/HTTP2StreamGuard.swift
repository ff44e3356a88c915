import NIOCore
import NIOHTTPTypes

/// Watches one stream of HTTP/2: one request and its response.
final class HTTP2StreamGuard: ChannelDuplexHandler, NIOScheduledCallbackHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  private let limits: EdgeLimits
  private let opened = NIODeadline.now()
  private var isReading = true
  private var hasResponded = false
  private var bytesLeft: Int
  private var timer: NIOScheduledCallback?
  private var context: ChannelHandlerContext?

  init(limits: EdgeLimits) {
    self.limits = limits
    bytesLeft = limits.farewellBytes
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    look(in: limits.request, context)
  }

  func handlerRemoved(context: ChannelHandlerContext) { stop() }

  func channelInactive(context: ChannelHandlerContext) {
    stop()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head: break
    case .body(let data):
      if hasResponded { bytesLeft -= data.readableBytes }
      if bytesLeft < 0 { return context.close(promise: nil) }
    case .end: isReading = false
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .end = unwrapOutboundIn(data) { hasResponded = true }
    context.write(data, promise: promise)
  }

  func handleScheduledCallback(eventLoop: some EventLoop) {
    guard let context else { return }
    if isReading || .now() - opened > EdgeLimits.stream { return context.close(promise: nil) }
    look(in: EdgeLimits.stream, context)
  }

  private func look(in time: TimeAmount, _ context: ChannelHandlerContext) {
    // It fails only on a loop that is shut down, and with it all connections.
    timer = try? context.eventLoop.assumeIsolated().scheduleCallback(in: time, handler: self)
  }

  private func stop() {
    timer?.cancel()
    context = nil
  }
}
