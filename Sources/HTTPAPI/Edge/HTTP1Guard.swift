import Hummingbird
import Logging
import NIOCore
import NIOHTTP1

/// Watches the requests of one HTTP/1 connection, one at a time: refuses what breaks the ``RequestRules``, and closes the connection where what follows
/// on it would be of no use or could be misread.
final class HTTP1Guard: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  private let connection: ConnectionGuard
  private let meter: FramingMeter
  private let logger: Logger
  private var isReading = false
  private var hasResponded = false
  private var closes = false
  /// From here on nothing is read or written: the last response is on its way.
  private var isOver = false
  private var isHead = false

  init(connection: ConnectionGuard, meter: FramingMeter, logger: Logger) {
    self.connection = connection
    self.meter = meter
    self.logger = logger
  }

  func handlerAdded(context: ChannelHandlerContext) {
    meter.onExcess = { [weak self] in self?.errorCaught(context: context, error: HTTPParserError.invalidChunkSize) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { meter.onExcess = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isOver else { return }
    switch unwrapInboundIn(data) {
    case .head(let head):
      begin(head)
      if let problem = RequestRules.fault(in: head) { return refuse(problem, context) }
      if expectsContinue(head) {
        let response = HTTPResponseHead(version: .http1_1, status: .continue)
        context.writeAndFlush(wrapOutboundOut(.head(response)), promise: nil)
      }
    case .body(let data): meter.receive(data.readableBytes)
    case .end:
      isReading = false
      meter.isInBody = false
      connection.requestRead()
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !isOver else {
      promise?.succeed()
      return
    }
    switch unwrapOutboundIn(data) {
    case .head(var head):
      hasResponded = true
      closes = closes || isReading || connection.isWornOut
      if closes { head.headers.replaceOrAdd(name: "Connection", value: "close") }
      context.write(wrapOutboundOut(.head(head)), promise: promise)
    case .body: context.write(data, promise: promise)
    case .end:
      context.write(data, promise: promise)
      finish(context)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard !isOver else { return }
    guard let error = error as? HTTPParserError else { return context.fireErrorCaught(error) }
    let isOverflow = if case .headerOverflow = error { true } else { false }
    refuse(
      isOverflow
        ? Problem(
          .headersTooLarge, "The header fields are larger than \(EdgeLimits.fieldsBytes) bytes, or one of them than \(EdgeLimits.fieldBytes).")
        : Problem(.malformedRequest, "The request is not well-formed HTTP."), context)
    // Whoever waits for the rest of a body waits in vain.
    context.fireErrorCaught(error)
  }

  private func begin(_ head: HTTPRequestHead) {
    connection.requestBegan()
    isReading = true
    hasResponded = false
    isHead = head.method == .HEAD
    closes = !head.isKeepAlive
    meter.begin()
  }

  /// Whether the client waits for leave to send a body that will be read.
  private func expectsContinue(_ head: HTTPRequestHead) -> Bool {
    head.version == .http1_1 && head.headers.first(name: "Expect")?.lowercased() == "100-continue"
      && (head.headers.first(name: "Content-Length").flatMap { Int($0) } ?? 0) <= JSONBody.maximumSize
  }

  /// Ends the exchange, and the connection if the response said so.
  private func finish(_ context: ChannelHandlerContext) {
    connection.responseSent()
    guard closes else { return }
    isOver = true
    context.flush()
    connection.takeLeave()
    context.close(promise: nil)
  }

  /// Answers in the service's place.
  private func refuse(_ problem: Problem, _ context: ChannelHandlerContext) {
    isOver = true
    connection.takeLeave()
    if !hasResponded {
      let (head, body) = problem.rawResponse()
      logger.info("Request refused", metadata: ["code": "\(problem.code.rawValue)", "request_id": "\(head.headers["X-Request-Id"].first ?? "")"])
      context.write(wrapOutboundOut(.head(head)), promise: nil)
      if !isHead { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
    context.close(promise: nil)
  }
}

/// Counts what a chunked body takes on the wire beside its data. The parser passes over chunk extensions of any length; here they find an end.
final class FramingMeter: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  /// What comes in one read is passed on in pieces, so that the count is right to within one.
  private static let piece = 4096

  var isInBody = false
  var onExcess: (() -> Void)?
  private var framing = 0
  private var isOver = false

  func begin() {
    isInBody = true
    framing = 0
  }

  func receive(_ bytes: Int) { framing -= bytes }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var buffer = unwrapInboundIn(data)
    while !isOver, let piece = buffer.readSlice(length: min(Self.piece, buffer.readableBytes)), piece.readableBytes > 0 {
      if isInBody { framing += piece.readableBytes }
      context.fireChannelRead(wrapInboundOut(piece))
      if isInBody, framing > EdgeLimits.framingBytes {
        isOver = true
        onExcess?()
      }
    }
  }
}
