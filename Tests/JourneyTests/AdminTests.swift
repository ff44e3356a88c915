import HTTPAPI
import Hummingbird
import HummingbirdTesting
import Prometheus
import Testing

@Suite struct `The admin listener` {
  @Test func `routes requests as the public listener does`() async throws {
    let api = AdminAPI(registry: Registry(), mailbox: nil, allowedHosts: nil, isReady: { true })
    try await Application(responder: api).test(.router) { client in
      let refused = try await client.send(.post, "/metrics")
      #expect(refused.status == 405 && refused.code == "method_not_allowed" && refused.headers[.allow] == "GET, HEAD, OPTIONS")
      #expect(try await client.send(.options, "/metrics").status == 204)
      #expect(try await client.send(.head, "/metrics").status == 200)
      for path in ["//metrics", "/metrics/", "/./metrics", "/mailbox"] { #expect(try await client.get(path).status == 404, "\(path)") }
    }
  }
}
