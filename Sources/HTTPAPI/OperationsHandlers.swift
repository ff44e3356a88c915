import CEmbeddedFiles
import Hummingbird
import NIOCore

/// Handlers for monitoring, and for developers of clients.
struct OperationsHandlers: Sendable {
  /// The contract. All responses share one buffer.
  private static let contract = {
    let file = contractFile()
    return ByteBuffer(bytes: UnsafeBufferPointer(start: file.start, count: file.count))
  }()

  let isReady: @Sendable () async -> Bool

  var routes: [Route] {
    [Route(.get, "/openapi.yaml") { _, _, _ in Response(.ok, Self.contract, contentType: "application/yaml") }] + healthRoutes
  }

  /// `live` only proves that the process answers. `ready` also checks the database, but not the mail server, because the
  /// outbox keeps emails while the mail server is down.
  var healthRoutes: [Route] {
    [
      Route(.get, "/health/live") { _, _, _ in .json(.ok, ["status": "ok"]) },
      Route(.get, "/health/ready") { [isReady] _, _, _ in
        guard await isReady() else { throw Problem.unavailable }
        return .json(.ok, ["status": "ok"])
      },
    ]
  }
}
