public import Hummingbird
import Foundation
public import PasswordReset

/// What only this machine may ask: in development, the mails that the `memory` backend keeps.
public struct AdminAPI: Sendable {
  /// Longer than any mail takes that comes at all.
  private static let longestWait = 30.0

  private let mailbox: any Mailbox
  private let names: [String]

  /// - Parameter names: the hosts that a request may name. A web page that had its own name point to this machine could read the mails, else.
  public init(mailbox: any Mailbox, names: [String]) {
    self.mailbox = mailbox
    self.names = names
  }

  public func router() -> Router<ResetRequestContext> {
    let router = Router(context: ResetRequestContext.self, options: .autoGenerateHeadEndpoints)
    router.add(middleware: RequestLogMiddleware())
    router.add(middleware: ResponseHeadersMiddleware())
    router.add(middleware: ProblemMiddleware())
    router.add(middleware: HostMiddleware(names: names))
    router.get("/mailbox") { _, _ in jsonResponse(.ok, ["messages": mailbox.messages.map(MessageDocument.init)]) }
    router.get("/mailbox/newest") { request, _ in try await newest(request) }
    router.delete("/mailbox") { _, _ in
      mailbox.removeAll()
      return Response(status: .noContent)
    }
    return router
  }

  /// The newest mail, to one address if `to` names one; waits for it up to `wait` seconds.
  private func newest(_ request: Request) async throws -> Response {
    let recipient = request.uri.queryParameters["to"].map { $0.removingPercentEncoding ?? String($0) }
    let wait = request.uri.queryParameters["wait"].flatMap { Double($0) } ?? 0
    let deadline = ContinuousClock.now + .seconds(min(max(wait, 0), Self.longestWait))
    while true {
      if let message = mailbox.messages.last(where: { recipient == nil || $0.recipient.lowercased() == recipient?.lowercased() }) {
        return jsonResponse(.ok, MessageDocument(message))
      }
      guard ContinuousClock.now < deadline else { throw Problem(.notFound, "There is no such mail. The parameter wait=5 waits for one.") }
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  private struct MessageDocument: Encodable {
    var from, to, subject, text: String
    var html: String?
    var language: String
    var reset_url: String?
    var message_id, date: String

    init(_ message: EmailMessage) {
      (from, to, subject, text, html) = (message.sender, message.recipient, message.subject, message.body, message.html)
      (language, reset_url, message_id) = (message.language, message.resetURL, message.messageID)
      date = message.date.ISO8601Format()
    }
  }
}

/// Answers only to its own names, against DNS rebinding.
private struct HostMiddleware: RouterMiddleware {
  let names: [String]

  func handle(
    _ request: Request, context: ResetRequestContext, next: (Request, ResetRequestContext) async throws -> Response
  ) async throws -> Response {
    let host = request.head.authority ?? ""
    let name = host.hasPrefix("[") ? host.prefix { $0 != "]" } + "]" : host.prefix { $0 != ":" }
    guard names.contains(name.lowercased()) else {
      throw Problem(.notFound, "This address answers to \(names.joined(separator: ", ")) only.")
    }
    return try await next(request, context)
  }
}
