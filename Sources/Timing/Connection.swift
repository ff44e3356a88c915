import Foundation

/// One keep-alive connection to a server on this machine: nothing stands between the clock and the socket.
final class Connection {
  /// The service closes a connection after a thousand requests.
  private static let longestUse = 990
  private static let patience = 10

  private let port: Int
  private let isAwake: Bool
  private var descriptor: Int32 = -1
  private var used = 0
  private var buffer = [UInt8](repeating: 0, count: 65536)
  /// How long the reply to a request of each length was: there is no need to look at one before it is so long.
  private var replyLengths: [Int: Int] = [:]

  /// - Parameter isAwake: whether to ask for the reply again and again in the place of sleeping until it comes. To wake a thread takes some ten
  ///   microseconds, and not always as many. It takes a core; there must be another for the server.
  init(port: Int, isAwake: Bool) {
    self.port = port
    self.isAwake = isAwake
  }

  deinit { hangUp() }

  /// Connects anew if `count` more requests would be too many for this connection; whether it did.
  func prepare(for count: Int) throws -> Bool {
    guard descriptor < 0 || used + count > Self.longestUse else { return false }
    hangUp()
    try connect()
    return true
  }

  /// Nanoseconds from before the request is written until its reply is read, which must have that status.
  func time(_ request: [UInt8], status: Int) throws -> Int {
    let expected = replyLengths[request.count] ?? 1
    let start = nanoseconds()
    let limit = start + Self.patience * 1_000_000_000
    guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else { throw failure("cannot write") }
    var received = 0
    while received < expected { received += try receive(at: received, until: limit) }
    let end = nanoseconds()
    used += 1

    var reply = Reply(buffer[..<received])
    while reply?.isWhole != true {
      received += try receive(at: received, until: limit)
      reply = Reply(buffer[..<received])
    }
    guard let reply, reply.status == status else {
      throw Failure(description: "an unexpected reply: \(String(decoding: buffer[..<received], as: UTF8.self))")
    }
    // The last reply of a connection says so, and is longer for it.
    if reply.closes { used = Self.longestUse } else { replyLengths[request.count] = reply.length }
    return end - start
  }

  /// How many bytes came; none if there are none yet.
  private func receive(at offset: Int, until limit: Int) throws -> Int {
    let count = buffer.withUnsafeMutableBytes { bytes in
      recv(descriptor, bytes.baseAddress.map { $0 + offset }, bytes.count - offset, isAwake ? Int32(MSG_DONTWAIT) : 0)
    }
    if count > 0 { return count }
    guard isAwake, count < 0, errno == EAGAIN, nanoseconds() < limit else {
      throw failure("no whole reply, but \"\(String(decoding: buffer[..<offset], as: UTF8.self))\"")
    }
    return 0
  }

  private func connect() throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
    let length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Foundation.connect(descriptor, $0, length) }
    }
    guard result == 0 else { throw failure("cannot connect") }
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    var patience = timeval(tv_sec: Self.patience, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    used = 0
  }

  private func hangUp() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
  }

  private func failure(_ what: String) -> Failure { Failure(description: "\(what): \(String(cString: strerror(errno)))") }
}
