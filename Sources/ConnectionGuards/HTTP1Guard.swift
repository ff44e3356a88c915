import NIOCore
import NIOHTTP1
import Text

/// Guards the requests of one HTTP/1 connection, one at a time.
///
/// It rejects requests that fail ``RequestValidation``, forwards a request when all of it has arrived, and closes the
/// connection after a response if the next request is unwanted or could be misread. A slow request occupies a buffer
/// here and no task.
final class HTTP1Guard: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  private let connection: ConnectionGuard
  private let chunkOverhead: ChunkOverheadLimiter
  private let sizes: RequestSizeLimits
  private let respond: RejectionResponder
  /// The current request, from its head until its response is written.
  private var head: HTTPRequestHead?
  private var body = ByteBuffer()
  /// Whether the request was forwarded without its body, which is too large.
  private var bodyDropped = false
  private var closeAfterResponse = false
  /// Whether the last response is written. From then on, nothing more is read or written.
  private var isDone = false

  init(connection: ConnectionGuard, chunkOverhead: ChunkOverheadLimiter, sizes: RequestSizeLimits, respond: @escaping RejectionResponder) {
    self.connection = connection
    self.chunkOverhead = chunkOverhead
    self.sizes = sizes
    self.respond = respond
  }

  func handlerAdded(context: ChannelHandlerContext) {
    chunkOverhead.onExcess = { [weak self] in self?.errorCaught(context: context, error: HTTPParserError.invalidChunkSize) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { chunkOverhead.onExcess = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isDone, !bodyDropped else { return }
    switch unwrapInboundIn(data) {
    case .head(let head): begin(head, context)
    case .body(var data):
      chunkOverhead.dataReceived(data.readableBytes)
      body.writeBuffer(&data)
      if body.readableBytes > sizes.bodyBytes { forwardHeadOnly(length: body.readableBytes, context) }
    case .end: forward(context)
    }
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !isDone else {
      promise?.succeed()
      return
    }
    switch unwrapOutboundIn(data) {
    case .head(var response):
      closeAfterResponse = closeAfterResponse || bodyDropped || connection.shouldCloseAfterResponse
      if closeAfterResponse {
        response.headers.replaceOrAdd(name: "Connection", value: "close")
      } else if head?.version == .http1_0 {
        // HTTP/1.0 clients need an explicit `keep-alive`; it is the default since HTTP/1.1.
        response.headers.replaceOrAdd(name: "Connection", value: "keep-alive")
      } else {
        return context.write(data, promise: promise)
      }
      context.write(wrapOutboundOut(.head(response)), promise: promise)
    case .body: context.write(data, promise: promise)
    case .end:
      isDone = closeAfterResponse
      connection.responseSent()
      head = nil
      context.write(data, promise: promise)
      if isDone { close(context) }
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard !isDone, !bodyDropped else { return }
    guard let error = error as? HTTPParserError else { return context.fireErrorCaught(error) }
    if case .headerOverflow = error { return reject(.headersTooLarge, context) }
    reject(.malformed("The request is not well-formed HTTP."), context)
  }

  private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    self.head = head
    connection.requestStarted()
    chunkOverhead.requestStarted()
    // After an upgrade, the parser stops; no other protocol follows.
    closeAfterResponse = !head.isKeepAlive || head.headers.contains(name: "Upgrade")
    if let violation = RequestValidation.violation(in: head, sizes) { return reject(violation, context) }
    // The validation ensures that it is a number, but it can exceed Int.
    let length = head.headers.first(name: "Content-Length").map { Int($0.trimmed) ?? .max }
    if let length, length > sizes.bodyBytes { return forwardHeadOnly(length: length, context) }
    if head.version == .http1_1, head.headers.first(name: "Expect")?.lowercased() == "100-continue" {
      context.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
    }
  }

  /// Forwards the request without its body. The handler rejects it by its Content-Length, so that the 413 matches the route.
  private func forwardHeadOnly(length: Int, _ context: ChannelHandlerContext) {
    head?.headers.replaceOrAdd(name: "Content-Length", value: "\(length)")
    body = ByteBuffer()
    bodyDropped = true
    forward(context)
  }

  private func forward(_ context: ChannelHandlerContext) {
    guard let head else { return }
    chunkOverhead.isInBody = false
    connection.requestReceived()
    context.fireChannelRead(wrapInboundOut(.head(head)))
    if body.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(.body(body))) }
    body = ByteBuffer()
    context.fireChannelRead(wrapInboundOut(.end(nil)))
  }

  /// Writes the rejection's response, if there is still a client to read it, and closes the connection.
  private func reject(_ reason: Rejection.Reason, _ context: ChannelHandlerContext) {
    isDone = true
    if context.channel.isActive, !connection.isShuttingDown {
      let origins = head?.headers["Origin"] ?? []
      let response = respond(Rejection(reason: reason, method: head?.method.rawValue, origin: origins.count == 1 ? origins[0] : nil))
      context.write(wrapOutboundOut(.head(response.head)), promise: nil)
      if head?.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(response.body))), promise: nil) }
      context.write(wrapOutboundOut(.end(nil)), promise: nil)
    }
    close(context)
  }

  private func close(_ context: ChannelHandlerContext) {
    context.flush()
    connection.beginLingeringClose()
    context.close(promise: nil)
  }
}
