import Foundation
import Synchronization

/// A request that libcurl is sending or about to send.
final class CurlTransfer: Sendable {
  let request: HTTPClient.Request
  private let cancelled = Atomic(false)

  init(_ request: HTTPClient.Request) { self.request = request }

  var isCancelled: Bool { cancelled.load(ordering: .relaxed) }

  func cancel() { cancelled.store(true, ordering: .relaxed) }
}

/// The reply while it arrives.
struct CurlReply {
  private let limit: Int
  private var headerSize = 0
  private(set) var reply = HTTPClient.Reply(status: 0)
  /// Whether the header was longer than the limit.
  private(set) var isHeaderTooLong = false

  init(limit: Int) { self.limit = limit }

  /// Adds a line of the header, and returns whether to go on. Informational replies (1xx) count too, so that they cannot go on without end.
  mutating func addHeader(_ bytes: UnsafeRawBufferPointer) -> Bool {
    headerSize += bytes.count
    guard headerSize <= limit else {
      isHeaderTooLong = true
      return false
    }
    let line = String(decoding: bytes, as: UTF8.self)
    if line.hasPrefix("HTTP/") { reply.headers = [:] }
    if let colon = line.firstIndex(of: ":") {
      let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespacesAndNewlines)
      reply.headers[line[..<colon].lowercased()] = value
    }
    return true
  }

  /// Adds a part of the body, and returns whether to go on.
  mutating func addBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let space = limit - reply.body.count
    reply.body.append(contentsOf: bytes.prefix(space))
    reply.isCut = bytes.count > space
    return !reply.isCut
  }
}
