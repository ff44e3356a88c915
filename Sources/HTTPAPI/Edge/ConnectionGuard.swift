import NIOCore
import NIOExtras

/// Watches one connection from below TLS and HTTP, where it sees each byte: closes it when the client takes too long to send, to read, or to go.
///
/// It looks at the time once a second (``ConnectionClock``), so a limit may be passed by that much, and a request costs no timer.
final class ConnectionGuard: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = IOData
  typealias OutboundOut = IOData

  private enum Phase {
    /// Since when a request is being sent: not a byte of it need have come yet.
    case receiving(NIODeadline)
    case answering
    case idle(NIODeadline)
    /// HTTP/2: so many requests at once, each watched by an ``HTTP2StreamGuard``; since when there are so many.
    case multiplexed(Int, NIODeadline)
    /// It is to be closed, and until then the client may notice; never later than at the latest.
    case leaving(until: NIODeadline, latest: NIODeadline, bytesLeft: Int)
  }

  private let limits: EdgeLimits
  private let count: ConnectionCount
  private let opened = NIODeadline.now()
  private var phase: Phase
  private var requests = 0
  /// Whether the client has sent something while it is being answered.
  private var isAhead = false
  /// When all must be over; set when the service stops.
  private var end: NIODeadline?
  /// Whether nothing more is to be written, and whether the kernel has taken all that was.
  private var hasEnded = false
  private var isOut = false
  /// Whether the client has closed its side.
  private var hasClientEnded = false
  /// When the last request of HTTP/2 was let in.
  private var lastStream: NIODeadline?
  private var written = 0
  private var sent = 0
  private var progress = NIODeadline.now()
  private var context: ChannelHandlerContext?

  init(limits: EdgeLimits, count: ConnectionCount) {
    self.limits = limits
    self.count = count
    phase = .receiving(opened)
  }

  // MARK: What HTTP tells

  func requestBegan() {
    if case .idle = phase { phase = .receiving(.now()) }
  }

  func requestRead() {
    if case .receiving = phase { phase = .answering }
  }

  func responseSent() {
    requests += 1
    isAhead = false
    switch phase {
    case .answering, .receiving: phase = .idle(.now())
    case .idle, .multiplexed, .leaving: break
    }
  }

  /// A stream of HTTP/2 was opened.
  func streamOpened() {
    guard let context else { return }
    switch phase {
    case .multiplexed(let count, _): phase = .multiplexed(count + 1, .now())
    case .receiving, .answering, .idle: phase = .multiplexed(1, .now())
    case .leaving: return
    }
    requests += 1
    guard requests == limits.requests else { return }
    lastStream = .now()
    // It has no header to say that this is the last: HTTP/2's own way is taken.
    context.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
  }

  func streamClosed() {
    if case .multiplexed(let count, _) = phase { phase = .multiplexed(count - 1, .now()) }
  }

  /// Whether the service stops.
  var isStopping: Bool { end != nil }

  /// Whether the next response should be the last one.
  var isWornOut: Bool { isStopping || requests + 1 >= limits.requests || .now() - opened > limits.age }

  /// The connection is about to be closed while the client may still be sending: it is to get the response nevertheless.
  func takeLeave() {
    if case .leaving = phase { return }
    let now = NIODeadline.now()
    phase = .leaving(until: now + limits.farewell, latest: now + EdgeLimits.stream, bytesLeft: limits.farewellBytes)
  }

  // MARK: The channel

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelInactive(context: ChannelHandlerContext) {
    self.context = nil
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch phase {
    case .leaving(let until, let latest, let bytesLeft):
      let left = bytesLeft - unwrapInboundIn(data).readableBytes
      phase = .leaving(until: until, latest: latest, bytesLeft: left)
      if left < 0 { return context.close(promise: nil) }
      // TLS waits for the end of the other side, and what is above it takes no more.
      if hasEnded { return }
    case .idle: phase = .receiving(.now())
    case .answering: isAhead = true
    case .receiving, .multiplexed: break
    }
    context.fireChannelRead(data)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    if hasEnded { return context.read() }
    context.fireChannelReadComplete()
    // What is above reads on only after the response. The socket would be taken from the poll and put back for each request; one read ahead spares that.
    if case .answering = phase, !isAhead { context.read() }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent { end = .now() + limits.stop }
    if event as? ChannelEvent == .inputClosed {
      hasClientEnded = true
      if isOut { return context.close(promise: nil) }
      if hasEnded { return }
    }
    context.fireUserInboundEventTriggered(event)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    written += unwrapOutboundIn(data).readableBytes
    context.write(data, promise: promise)
  }

  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    guard mode != .input else { return context.close(mode: mode, promise: promise) }
    guard !hasEnded else {
      promise?.succeed()
      return
    }
    if unsent(in: context) > 0 { takeLeave() }
    guard case .leaving = phase else { return context.close(mode: mode, promise: promise) }
    hasEnded = true
    promise?.succeed()
    // The channel itself drops what is unsent when the other side is closed already.
    let out = context.eventLoop.makePromise(of: Void.self)
    out.futureResult.assumeIsolated().whenComplete { _ in self.closeOutput() }
    context.writeAndFlush(wrapOutboundOut(.byteBuffer(ByteBuffer())), promise: out)
    context.read()
  }

  /// Closes our side, when the kernel has taken all that was written.
  private func closeOutput() {
    // If the channel was closed meanwhile, it was not taken.
    guard let context, context.channel.isActive else { return }
    isOut = true
    context.close(mode: hasClientEnded ? .all : .output, promise: nil)
  }

  // MARK: The clock

  /// Closes what has taken too long; false when there is nothing more to look at.
  func look(at now: NIODeadline) -> Bool {
    guard let context else { return false }
    // Its time to go begins when the kernel has taken all, however slowly it reads; but some time must be the end.
    if case .leaving(_, let latest, let bytesLeft) = phase, end == nil, unsent(in: context) > 0 {
      phase = .leaving(until: min(now + limits.farewell, latest), latest: latest, bytesLeft: bytesLeft)
    }
    guard !isOverdue(at: now), !isStalled(at: now, in: context) else {
      context.close(promise: nil)
      return false
    }
    return true
  }

  private func isOverdue(at now: NIODeadline) -> Bool {
    switch phase {
    case .receiving(let start): now - start > limits.request || isOver(now)
    case .idle(let start): now - start > longestIdle || isOver(now)
    case .leaving(let until, _, _): now >= until
    case .multiplexed(0, let start): now - start > longestIdle + limits.farewell || isOver(now - limits.farewell) || isPast(now)
    case .multiplexed: isOver(now - limits.farewell) || isPast(now)
    case .answering: false
    }
  }

  private var longestIdle: TimeAmount { count.isCrowded ? limits.crowdedIdle : limits.idle }

  /// Hummingbird has told a client of HTTP/2 to go, and waits for its answer, without which it would wait for ever.
  private func isPast(_ now: NIODeadline) -> Bool {
    let patience = EdgeLimits.stream + limits.farewell
    return now - opened > limits.age + patience || lastStream.map { now - $0 > patience } ?? false
  }

  private func isOver(_ now: NIODeadline) -> Bool { end.map { now >= $0 } ?? false }

  private func isStalled(at now: NIODeadline, in context: ChannelHandlerContext) -> Bool {
    let unsent = unsent(in: context)
    if unsent == 0 || written - unsent > sent {
      sent = written - unsent
      progress = now
    }
    return now - progress > (end == nil ? limits.unread : limits.stop)
  }

  /// Bytes that wait until the client reads.
  private func unsent(in context: ChannelHandlerContext) -> Int {
    // A channel without the option has no such bytes: there is none here.
    (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
  }
}
