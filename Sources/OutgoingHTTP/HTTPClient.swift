import Concurrency
package import Foundation
package import Text

/// Sends requests to other servers by HTTPS with libcurl, and by HTTP to this machine.
///
/// A request is bounded in time and in the size of its reply, follows no redirect, uses no proxy, and connects only to permitted addresses.
package final class HTTPClient: Sendable {
  /// A request: GET without a body, and POST with one.
  package struct Request: Sendable {
    /// The URL with the scheme `https`, or `http` for this machine.
    package var url: String
    package var headers: [(name: String, value: String)] = []
    package var body: Data?
    /// The longest time for the whole request in seconds, including the resolution of the name.
    package var timeout: TimeInterval = 10
    /// The highest number of bytes that are read of a reply's header, and of its body.
    package var replyLimit = 64 * 1024

    package init(url: String) { self.url = url }
  }

  /// The reply of a server. A redirect is a reply like any other.
  package struct Reply: Sendable {
    package var status: Int
    /// The header, with names in lowercase.
    package var headers: [String: String] = [:]
    package var body = Data()
    /// Whether the body was longer than ``Request/replyLimit`` and is cut there.
    package var isCut = false
  }

  /// Why there is no reply.
  package enum Failure: Error, Equatable {
    /// The name resolves to addresses that are not permitted only; this is one of them.
    case forbidden(IPAddress)
    /// The server could not be reached, sent no valid reply, or took too long.
    case failed(reason: String)
    /// The task was cancelled or the client stopped.
    case cancelled
  }

  private let threads: ConnectionThreads<CurlTransfer, Result<Reply, Failure>>

  /// Creates a client. It connects when there is a request, and keeps its connections open for a minute.
  /// - Parameters:
  ///   - connections: The highest number of requests at once.
  ///   - rules: The addresses that requests may connect to.
  ///   - authoritiesFile: A PEM file with the authorities to trust instead of the system's file, or `nil`.
  package init(connections: Int, rules: AddressRules, authoritiesFile: String? = nil) {
    threads = ConnectionThreads(limit: connections) {
      let connection = CurlConnection(rules, authoritiesFile: authoritiesFile)
      return { connection.perform($0) }
    }
  }

  /// Sends a request and returns the reply. Further requests wait while all connections are in use.
  package func send(_ request: Request) async throws(Failure) -> Reply {
    let transfer = CurlTransfer(request)
    let result = await withTaskCancellationHandler {
      await threads.run(transfer)
    } onCancel: {
      transfer.cancel()
    }
    guard let result else { throw .cancelled }
    return try result.get()
  }

  /// Makes requests that have not begun fail as ``Failure/cancelled``. Those in progress go on until their time is over.
  package func stop() { threads.stop() }
}
