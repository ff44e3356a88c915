import Hummingbird

private struct Reply: ResponseCodable {
  var detail = "a response of about the usual length"
}

private struct ResetRequest: Decodable {
  var email: String
}

/// Runs routes of the same shape as the service's that do nothing: the upper limit of what the framework can reach.
func runBareServer() async throws {
  let router = Router()
  router.get("/bare/{uidb64}/{token}") { _, _ in Reply() }
  router.post("/bare") { request, context in
    let body = try await request.decode(as: ResetRequest.self, context: context)
    return EditedResponse(status: body.email.isEmpty ? .badRequest : .accepted, response: Reply())
  }
  let application = Application(
    router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
    onServerRunning: { channel in print("listening on 127.0.0.1:\(channel.localAddress?.port ?? 0)") })
  try await application.runService()
}
