import NIOCore
import NIOExtras

/// Closes a connection whose client takes too long to send, to read, or to close. It is below TLS and HTTP and sees every byte.
///
///     receiving ──whole request──▶ answering ──response written──▶ idle ──first byte──▶ receiving
///         │                            │                            │
///         ├──────────HTTP/2 stream─────┴────────────────────────────┴─▶ multiplexed
///         │
///         └── from every phase: `beginLingeringClose`, or a close with unread output ──▶ lingering ──▶ closed
///
/// Time limits: `requestTimeout` while receiving, `keepaliveTimeout` while idle or without streams, `lingeringTimeout`
/// while lingering, `sendTimeout` in every phase when the client reads nothing, `shutdownGrace` when the server stops.
/// ``ConnectionTimerWheel`` calls ``tick(now:)`` once per second, so a limit can be exceeded by a second, and a request
/// needs no timer.
final class ConnectionGuard: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = IOData
  typealias OutboundOut = IOData

  private enum Phase {
    /// The client has been sending a request, or could have started one, since this time.
    case receiving(since: NIODeadline)
    case answering
    case idle(since: NIODeadline)
    /// HTTP/2: the number of open streams, and when it last changed. An ``HTTP2StreamGuard`` limits each stream.
    case multiplexed(streams: Int, since: NIODeadline)
    /// Lingering close: the last response is written. Keep reading until `until` so that the client receives it, but
    /// never past `deadline`.
    case lingering(until: NIODeadline, deadline: NIODeadline, bytesLeft: Int)
  }

  private let limits: ConnectionLimits
  private let count: ConnectionCount
  private let opened = NIODeadline.now()
  private var phase: Phase
  private var requestCount = 0
  /// When HTTP/2 accepted the last stream that `keepaliveRequests` allows.
  private var lastStreamOpened: NIODeadline?
  /// When the connection must be closed, because the server is shutting down.
  private var shutdownDeadline: NIODeadline?
  /// Whether the client has sent more while the server was still answering.
  private var clientSentAhead = false
  private var clientClosedOutput = false
  /// Whether the server has written everything that it will write.
  private var serverEndedOutput = false
  /// Whether the kernel has also accepted all of it.
  private var serverClosedOutput = false
  private var bytesWritten = 0
  private var bytesTakenByKernel = 0
  private var lastProgress = NIODeadline.now()
  private var context: ChannelHandlerContext?

  init(limits: ConnectionLimits, count: ConnectionCount) {
    self.limits = limits
    self.count = count
    phase = .receiving(since: opened)
  }

  // MARK: Events from the HTTP guards

  func requestStarted() {
    if case .idle = phase { phase = .receiving(since: .now()) }
  }

  func requestReceived() {
    if case .receiving = phase { phase = .answering }
  }

  func responseSent() {
    requestCount += 1
    clientSentAhead = false
    switch phase {
    case .answering, .receiving: phase = .idle(since: .now())
    case .idle, .multiplexed, .lingering: break
    }
  }

  func streamOpened() {
    guard let context else { return }
    switch phase {
    case .multiplexed(let streams, _): phase = .multiplexed(streams: streams + 1, since: .now())
    case .receiving, .answering, .idle: phase = .multiplexed(streams: 1, since: .now())
    case .lingering: return
    }
    requestCount += 1
    guard requestCount == limits.keepaliveRequests else { return }
    lastStreamOpened = .now()
    // HTTP/2 has no `Connection: close`. This event makes Hummingbird send GOAWAY.
    context.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
  }

  func streamClosed() {
    if case .multiplexed(let streams, _) = phase { phase = .multiplexed(streams: streams - 1, since: .now()) }
  }

  var isShuttingDown: Bool { shutdownDeadline != nil }

  /// Whether the server should announce that its next response is the last one.
  var shouldCloseAfterResponse: Bool {
    isShuttingDown || requestCount + 1 >= limits.keepaliveRequests || .now() - opened > limits.maxConnectionAge
  }

  /// Keeps the connection readable for a short time when the server closes it, so that the client receives the response.
  func beginLingeringClose() {
    if case .lingering = phase { return }
    let now = NIODeadline.now()
    phase = .lingering(until: now + limits.lingeringTimeout, deadline: now + limits.maxLingeringTime, bytesLeft: limits.lingeringBytes)
  }

  // MARK: Channel events

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelInactive(context: ChannelHandlerContext) {
    self.context = nil
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch phase {
    case .lingering(let until, let deadline, let bytesLeft):
      let left = bytesLeft - unwrapInboundIn(data).readableBytes
      phase = .lingering(until: until, deadline: deadline, bytesLeft: left)
      if left < 0 { return context.close(promise: nil) }
      // The handlers above have closed. Only TLS, while it waits for the client's close_notify, still reads.
      if serverEndedOutput { return }
    case .idle: phase = .receiving(since: .now())
    case .answering: clientSentAhead = true
    case .receiving, .multiplexed: break
    }
    context.fireChannelRead(data)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    if serverEndedOutput { return context.read() }
    context.fireChannelReadComplete()
    // The HTTP handlers read again only after the response. Read once ahead, so that the socket is not removed from the
    // poll and added again for each request.
    if case .answering = phase, !clientSentAhead { context.read() }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent { shutdownDeadline = .now() + limits.shutdownGrace }
    if event as? ChannelEvent == .inputClosed {
      clientClosedOutput = true
      if serverClosedOutput { return context.close(promise: nil) }
      if serverEndedOutput { return }
    }
    context.fireUserInboundEventTriggered(event)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    bytesWritten += unwrapOutboundIn(data).readableBytes
    context.write(data, promise: promise)
  }

  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    guard mode != .input else { return context.close(mode: mode, promise: promise) }
    guard !serverEndedOutput else {
      promise?.succeed()
      return
    }
    if unsentBytes(in: context) > 0 { beginLingeringClose() }
    guard case .lingering = phase else { return context.close(mode: mode, promise: promise) }
    serverEndedOutput = true
    promise?.succeed()
    // Close only after the kernel has taken all output. The channel would drop unsent bytes if the client has closed its side.
    let flushed = context.eventLoop.makePromise(of: Void.self)
    flushed.futureResult.assumeIsolated().whenComplete { _ in self.closeOutput() }
    context.writeAndFlush(wrapOutboundOut(.byteBuffer(ByteBuffer())), promise: flushed)
    context.read()
  }

  private func closeOutput() {
    // The flush also completes, with an error, when the channel was closed in the meantime.
    guard let context, context.channel.isActive else { return }
    serverClosedOutput = true
    context.close(mode: clientClosedOutput ? .all : .output, promise: nil)
  }

  // MARK: Time limits

  /// Closes the connection if it has exceeded a time limit. Returns whether the connection still needs checking.
  func tick(now: NIODeadline) -> Bool {
    guard let context else { return false }
    // The lingering timeout starts when the kernel has taken all output, however slowly the client reads; `deadline` limits both.
    if case .lingering(_, let deadline, let bytesLeft) = phase, !isShuttingDown, unsentBytes(in: context) > 0 {
      phase = .lingering(until: min(now + limits.lingeringTimeout, deadline), deadline: deadline, bytesLeft: bytesLeft)
    }
    guard !isPhaseOverdue(now), !isClientStalled(now, in: context) else {
      context.close(promise: nil)
      return false
    }
    return true
  }

  private func isPhaseOverdue(_ now: NIODeadline) -> Bool {
    switch phase {
    case .receiving(let since): now - since > limits.requestTimeout || isShutdownOver(now)
    case .idle(let since): now - since > keepaliveTimeout || isShutdownOver(now)
    case .lingering(let until, _, _): now >= until
    case .multiplexed(streams: 0, let since) where now - since > keepaliveTimeout + limits.lingeringTimeout: true
    case .multiplexed: isShutdownOver(now - limits.lingeringTimeout) || clientIgnoresGoAway(now)
    case .answering: false
    }
  }

  private var keepaliveTimeout: TimeAmount { count.isCrowded ? limits.crowdedKeepaliveTimeout : limits.keepaliveTimeout }

  /// Whether the client keeps the connection open long after Hummingbird sent GOAWAY. Hummingbird itself would wait without a limit.
  private func clientIgnoresGoAway(_ now: NIODeadline) -> Bool {
    let patience = limits.streamTimeout + limits.lingeringTimeout
    return now - opened > limits.maxConnectionAge + patience || lastStreamOpened.map { now - $0 > patience } ?? false
  }

  private func isShutdownOver(_ now: NIODeadline) -> Bool { shutdownDeadline.map { now >= $0 } ?? false }

  /// Whether output is waiting and the client has read none of it for too long.
  private func isClientStalled(_ now: NIODeadline, in context: ChannelHandlerContext) -> Bool {
    let unsent = unsentBytes(in: context)
    if unsent == 0 || bytesWritten - unsent > bytesTakenByKernel {
      bytesTakenByKernel = bytesWritten - unsent
      lastProgress = now
    }
    return now - lastProgress > (isShuttingDown ? limits.shutdownGrace : limits.sendTimeout)
  }

  private func unsentBytes(in context: ChannelHandlerContext) -> Int {
    // Only channels that buffer no output lack this option.
    (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
  }
}
