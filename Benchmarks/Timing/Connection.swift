import Foundation

/// A keep-alive connection to a server on this machine. It reads the clock directly around the system calls.
final class Connection {
  /// The maximum number of requests: the service closes a connection after a thousand.
  private static let maximumUses = 990
  private static let timeout = 10

  private let port: Int
  private let pollsForResponse: Bool
  private var descriptor: Int32 = -1
  private var used = 0
  private var buffer = [UInt8](repeating: 0, count: 65536)
  /// The length of the last response, by the length of its request. A shorter response cannot be complete and is not parsed.
  private var responseLengths: [Int: Int] = [:]

  /// - Parameter pollsForResponse: whether to poll the socket instead of blocking until the response arrives. Waking a blocked thread takes
  ///   about ten microseconds, and this time varies. Polling keeps one core busy, so the server needs another.
  init(port: Int, pollsForResponse: Bool) {
    self.port = port
    self.pollsForResponse = pollsForResponse
  }

  deinit { disconnect() }

  /// Reconnects if this connection cannot take `count` more requests, and returns whether it did.
  func prepare(for count: Int) throws -> Bool {
    guard descriptor < 0 || used + count > Self.maximumUses else { return false }
    disconnect()
    try connect()
    return true
  }

  /// Returns the nanoseconds from before the request is written until its response is read. The response must have the given status.
  func time(_ request: [UInt8], status: Int) throws -> Int {
    let expected = responseLengths[request.count] ?? 1
    let start = nanoseconds()
    let limit = start + Self.timeout * 1_000_000_000
    guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else { throw failure("cannot write") }
    var received = 0
    while received < expected { received += try receive(at: received, until: limit) }
    let end = nanoseconds()
    used += 1

    var response = Response(buffer[..<received])
    while response?.isComplete != true {
      received += try receive(at: received, until: limit)
      response = Response(buffer[..<received])
    }
    guard let response, response.status == status else {
      throw TimingError(description: "unexpected response: \(String(decoding: buffer[..<received], as: UTF8.self))")
    }
    // The last response of a connection has an additional header, which makes it longer.
    if response.closes { used = Self.maximumUses } else { responseLengths[request.count] = response.length }
    return end - start
  }

  /// Returns the number of received bytes, or 0 if there are none yet.
  private func receive(at offset: Int, until limit: Int) throws -> Int {
    let count = buffer.withUnsafeMutableBytes { bytes in
      recv(descriptor, bytes.baseAddress.map { $0 + offset }, bytes.count - offset, pollsForResponse ? Int32(MSG_DONTWAIT) : 0)
    }
    if count > 0 { return count }
    guard pollsForResponse, count < 0, errno == EAGAIN, nanoseconds() < limit else {
      throw failure("incomplete response \"\(String(decoding: buffer[..<offset], as: UTF8.self))\"")
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
    var timeout = timeval(tv_sec: Self.timeout, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    used = 0
  }

  private func disconnect() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
  }

  private func failure(_ what: String) -> TimingError { TimingError(description: "\(what): \(String(cString: strerror(errno)))") }
}
