import NIOCore
import NIOHTTP1

/// Adds the guards at positions that Hummingbird does not offer: around the parser of an HTTP/1 connection, or to an HTTP/2 stream.
///
/// Hummingbird adds this handler when the parser is already in the pipeline.
final class GuardInstaller: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = NIOAny

  private let limits: ConnectionLimits
  private let sizes: RequestSizeLimits
  private let respond: RejectionResponder

  init(limits: ConnectionLimits, sizes: RequestSizeLimits, respond: @escaping RejectionResponder) {
    self.limits = limits
    self.sizes = sizes
    self.respond = respond
  }

  func handlerAdded(context: ChannelHandlerContext) {
    do { try install(context) } catch {
      // A connection without its guards is not served.
      context.close(promise: nil)
    }
  }

  private func install(_ context: ChannelHandlerContext) throws {
    let pipeline = context.pipeline.syncOperations
    // An HTTP/2 stream has no HTTP/1 parser.
    guard let parser = try? pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self) else {
      guard let parent = context.channel.parent else { return context.close(promise: nil) }
      let connection = try parent.pipeline.syncOperations.handler(type: ConnectionGuard.self)
      return try pipeline.addHandler(HTTP2StreamGuard(limits: limits, connection: connection), position: .after(self))
    }
    let limiter = ChunkOverheadLimiter(limit: sizes.chunkOverheadBytes)
    let connection = try pipeline.handler(type: ConnectionGuard.self)
    try pipeline.addHandler(limiter, position: .before(parser))
    // One request at a time: pipelined requests wait, unread except for one read, until the response before them is sent.
    let guards: [any ChannelHandler] = [
      HTTPServerPipelineHandler(), HTTP1Guard(connection: connection, chunkOverhead: limiter, sizes: sizes, respond: respond),
    ]
    try pipeline.addHandlers(guards, position: .after(parser))
  }
}
