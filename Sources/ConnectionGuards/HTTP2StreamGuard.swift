import NIOCore
import NIOHTTPTypes

/// Limits the time and bytes of one HTTP/2 stream: one request and its response.
final class HTTP2StreamGuard: ChannelDuplexHandler, NIOScheduledCallbackHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  private let limits: ConnectionLimits
  private let connection: ConnectionGuard
  private let opened = NIODeadline.now()
  private var isRequestComplete = false
  private var responseWritten: NIODeadline?
  private var lingeringBytesLeft: Int
  private var timer: NIOScheduledCallback?
  private var context: ChannelHandlerContext?

  init(limits: ConnectionLimits, connection: ConnectionGuard) {
    self.limits = limits
    self.connection = connection
    lingeringBytesLeft = limits.lingeringBytes
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    connection.streamOpened()
    schedule(in: limits.requestTimeout, context)
  }

  func handlerRemoved(context: ChannelHandlerContext) { streamClosed() }

  func channelInactive(context: ChannelHandlerContext) {
    streamClosed()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head: break
    case .body(let data):
      if responseWritten != nil { lingeringBytesLeft -= data.readableBytes }
      if lingeringBytesLeft < 0 { return context.close(promise: nil) }
    case .end: isRequestComplete = true
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .end = unwrapOutboundIn(data) { responseWritten = .now() }
    context.write(data, promise: promise)
  }

  /// Closes the stream if its request is late, or if the client has not read the response: a stream ends when its response is read.
  func handleScheduledCallback(eventLoop: some EventLoop) {
    guard let context else { return }
    let now = NIODeadline.now()
    let isUnread = responseWritten.map { now - $0 >= limits.sendTimeout } ?? false
    if !isRequestComplete || isUnread || now - opened >= limits.streamTimeout { return context.close(promise: nil) }
    schedule(in: limits.sendTimeout, context)
  }

  private func schedule(in time: TimeAmount, _ context: ChannelHandlerContext) {
    // Scheduling fails only on a loop that is shut down, and its connections are then closed.
    timer = try? context.eventLoop.assumeIsolated().scheduleCallback(in: time, handler: self)
  }

  private func streamClosed() {
    guard context != nil else { return }
    context = nil
    timer?.cancel()
    connection.streamClosed()
  }
}
