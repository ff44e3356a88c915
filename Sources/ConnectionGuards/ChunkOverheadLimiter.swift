import NIOCore

/// Limits the bytes of a chunked body that are not data. NIO's parser skips chunk extensions of any length.
final class ChunkOverheadLimiter: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  /// A read is forwarded in pieces of this size, so that the count is accurate to within one piece.
  private static let pieceBytes = 4096

  var isInBody = false
  var onExcess: (() -> Void)?
  private let limit: Int
  private var overhead = 0
  private var isExceeded = false

  init(limit: Int) { self.limit = limit }

  func requestStarted() {
    isInBody = true
    overhead = 0
  }

  func dataReceived(_ bytes: Int) { overhead -= bytes }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var buffer = unwrapInboundIn(data)
    while !isExceeded, let piece = buffer.readSlice(length: min(Self.pieceBytes, buffer.readableBytes)), piece.readableBytes > 0 {
      if isInBody { overhead += piece.readableBytes }
      context.fireChannelRead(wrapInboundOut(piece))
      if isInBody, overhead > limit {
        isExceeded = true
        onExcess?()
      }
    }
  }
}
