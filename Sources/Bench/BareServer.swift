import Hummingbird

private struct Small: ResponseCodable {
  var detail: String
}

private struct Named: Decodable {
  var email: String
}

/// What the framework can do at best: routes of the same shape that do nothing.
func runBareServer() async throws {
  let router = Router()
  router.get("/bare/{uidb64}/{token}") { _, _ in Small(detail: "a reply of about the size of a reply") }
  router.post("/bare") { request, context in
    let body = try await request.decode(as: Named.self, context: context)
    return EditedResponse(status: body.email.isEmpty ? .badRequest : .accepted, response: Small(detail: "a reply of about the size of a reply"))
  }
  let application = Application(
    router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
    onServerRunning: { channel in print("listening on 127.0.0.1:\(channel.localAddress?.port ?? 0)") })
  try await application.runService()
}
