import Hummingbird

/// What the operator and the client's developer ask for.
struct OperationsHandlers: Sendable {
  /// One for all replies, however many are under way.
  private static let contract = ByteBuffer(bytes: PackageResources.openapi_yaml)

  let isReady: @Sendable () async -> Bool

  /// `GET /openapi.yaml`: the contract.
  func openAPI() -> Response {
    Response(status: .ok, headers: [.contentType: "application/yaml"], body: .init(byteBuffer: Self.contract))
  }

  /// `GET /health/live`: the process answers. It touches nothing that could be slow.
  func live() -> Response {
    jsonResponse(.ok, ["status": "ok"])
  }

  /// `GET /health/ready`: the database answers too. A mail server that is down does not count: the mails wait.
  func ready() async throws -> Response {
    guard await isReady() else { throw Problem.unavailable() }
    return jsonResponse(.ok, ["status": "ok"])
  }
}
