import HTTPTypes
import Logging
import NIOCore
import NIOHTTP1

/// Watches the requests of one HTTP/1 connection, one at a time: refuses what breaks the ``RequestRules``, lets in what has come as a whole, and closes the
/// connection where what follows on it would be of no use or could be misread.
///
/// A request that drips in costs a buffer here, and no task of the service's.
final class HTTP1Guard: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  private let connection: ConnectionGuard
  private let meter: FramingMeter
  private let metrics: HTTPMetrics?
  private let logger: Logger
  /// The request in hand: being read until it has come as a whole, and then answered.
  private var head: HTTPRequestHead?
  private var body = ByteBuffer()
  /// Whether it was let in without the rest of its body, which is too large.
  private var isCut = false
  /// Whether the connection ends with the response to it.
  private var closes = false
  /// From here on nothing is read or written: the last response is on its way.
  private var isOver = false

  init(connection: ConnectionGuard, meter: FramingMeter, metrics: HTTPMetrics?, logger: Logger) {
    self.connection = connection
    self.meter = meter
    self.metrics = metrics
    self.logger = logger
  }

  func handlerAdded(context: ChannelHandlerContext) {
    meter.onExcess = { [weak self] in self?.errorCaught(context: context, error: HTTPParserError.invalidChunkSize) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { meter.onExcess = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isOver, !isCut else { return }
    switch unwrapInboundIn(data) {
    case .head(let head): begin(head, context)
    case .body(var data):
      meter.receive(data.readableBytes)
      body.writeBuffer(&data)
      if body.readableBytes > JSONBody.maximumSize { letInCut(ofLength: body.readableBytes, context) }
    case .end: letIn(context)
    }
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !isOver else {
      promise?.succeed()
      return
    }
    switch unwrapOutboundIn(data) {
    case .head(var response):
      closes = closes || isCut || connection.isWornOut
      if closes {
        response.headers.replaceOrAdd(name: "Connection", value: "close")
      } else if head?.version == .http1_0 {
        // What is the rule since HTTP/1.1 must be said to a client of before.
        response.headers.replaceOrAdd(name: "Connection", value: "keep-alive")
      } else {
        return context.write(data, promise: promise)
      }
      context.write(wrapOutboundOut(.head(response)), promise: promise)
    case .body: context.write(data, promise: promise)
    case .end:
      isOver = closes
      connection.responseSent()
      head = nil
      context.write(data, promise: promise)
      if isOver { close(context) }
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard !isOver, !isCut else { return }
    guard let error = error as? HTTPParserError else { return context.fireErrorCaught(error) }
    if case .headerOverflow = error { refuse(.headersTooLarge, context) } else { refuse(.malformedHTTP, context) }
  }

  private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    self.head = head
    connection.requestBegan()
    meter.begin()
    // The parser reads on in no protocol but HTTP/1.
    closes = !head.isKeepAlive || head.headers.contains(name: "Upgrade")
    if let problem = RequestRules.fault(in: head) { return refuse(problem, context) }
    // A number it is, if only too large a one.
    if let length = head.headers.first(name: "Content-Length").map({ Int(RequestRules.trimmed($0)) ?? .max }), length > JSONBody.maximumSize {
      return letInCut(ofLength: length, context)
    }
    if head.version == .http1_1, head.headers.first(name: "Expect")?.lowercased() == "100-continue" {
      context.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
    }
  }

  /// Without the body: who takes one refuses it by its length, in the terms of the route.
  private func letInCut(ofLength length: Int, _ context: ChannelHandlerContext) {
    head?.headers.replaceOrAdd(name: "Content-Length", value: "\(length)")
    body = ByteBuffer()
    isCut = true
    letIn(context)
  }

  private func letIn(_ context: ChannelHandlerContext) {
    guard let head else { return }
    meter.isInBody = false
    connection.requestRead()
    context.fireChannelRead(wrapInboundOut(.head(head)))
    if body.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(.body(body))) }
    body = ByteBuffer()
    context.fireChannelRead(wrapInboundOut(.end(nil)))
  }

  /// Answers in the service's place, unless nobody listens any more.
  private func refuse(_ problem: Problem, _ context: ChannelHandlerContext) {
    isOver = true
    if context.channel.isActive, !connection.isStopping {
      let (response, body) = problem.rawResponse()
      metrics?.recordRefusal(head.flatMap { HTTPRequest.Method($0.method.rawValue) }, status: problem.code.status.code)
      logger.info(
        "Request refused", metadata: ["code": "\(problem.code.rawValue)", "request_id": "\(response.headers["X-Request-Id"].first ?? "")"])
      context.write(wrapOutboundOut(.head(response)), promise: nil)
      if head?.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
      context.write(wrapOutboundOut(.end(nil)), promise: nil)
    }
    close(context)
  }

  private func close(_ context: ChannelHandlerContext) {
    context.flush()
    connection.takeLeave()
    context.close(promise: nil)
  }
}

extension Problem {
  fileprivate static let malformedHTTP = Problem(.malformedRequest, "The request is not well-formed HTTP.")
  fileprivate static let headersTooLarge = Problem(
    .headersTooLarge,
    "The header fields are larger than \(EdgeLimits.fieldsBytes) bytes, or one of them than \(EdgeLimits.fieldBytes), or more than \(EdgeLimits.fields)."
  )
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
