import Hummingbird
import HummingbirdTesting
import Logging
import Testing

@testable import HTTPAPI

@Suite struct `An error that no handler expects` {
  private struct Fault: Error { var secret = "s3cret-71" }

  private struct Responder: HTTPResponder {
    let pipeline: RequestPipeline

    func respond(to request: Request, context: ResetRequestContext) async -> Response { await pipeline.respond(to: request, context: context) }
  }

  @Test func `is answered with 500 and logged by its type alone`() async throws {
    let route = Route(.get, "/fails") { _, _, _ in throw Fault() }
    let log = Recorder()
    let logger = Logger(label: "test") { _ in RecordingLogHandler(recorder: log, logLevel: .trace) }
    let responder = Responder(pipeline: RequestPipeline(routes: RouteTable(routes: [route])))
    try await Application(responder: responder, logger: logger).test(.router) { client in
      let reply = try await client.get("/fails")
      #expect(reply.status == 500 && reply.code == "internal_error")
      #expect(!reply.text.contains("Fault") && !reply.text.contains("s3cret-71"))
    }
    #expect(log.lines.contains { $0.contains("Unexpected error") && $0.contains("Fault") })
    #expect(!log.lines.contains { $0.contains("s3cret-71") })
  }
}
