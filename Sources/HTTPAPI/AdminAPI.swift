import Foundation
public import Hummingbird
import Logging
public import PasswordReset
public import Prometheus

/// What the operator's own machines may ask: metrics and health and, in development, the mails that the `memory` backend keeps.
public struct AdminAPI: Sendable {
  /// Longer than any mail takes that comes at all.
  private static let longestWait = 30.0

  private let registry: Registry
  private let operations: OperationsHandlers
  private let mailbox: (any Mailbox)?
  private let names: [String]?

  /// - Parameters:
  ///   - mailbox: nil if it is nobody's to read.
  ///   - names: the hosts that a request may name; nil for any. A web page that had its own name point to this machine could read all of it, else.
  public init(registry: Registry, mailbox: (any Mailbox)?, names: [String]?, isReady: @escaping @Sendable () async -> Bool) {
    self.registry = registry
    operations = OperationsHandlers(isReady: isReady)
    self.mailbox = mailbox
    self.names = names
  }

  public func responder() -> some HTTPResponder<ResetRequestContext> { AdminResponder(router: router().buildResponder()) }

  private func router() -> Router<ResetRequestContext> {
    let router = Router(context: ResetRequestContext.self, options: .autoGenerateHeadEndpoints)
    if let names { router.add(middleware: HostMiddleware(names: names)) }
    router.add(middleware: NotFoundMiddleware())
    router.get("/metrics") { _, _ in
      Response(
        status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
        body: .init(byteBuffer: ByteBuffer(string: await registry.text())))
    }
    router.get("/health/live") { _, _ in operations.live() }
    router.get("/health/ready") { _, _ in try await operations.ready() }
    if let mailbox { add(mailbox, to: router) }
    return router
  }

  private func add(_ mailbox: any Mailbox, to router: Router<ResetRequestContext>) {
    router.get("/mailbox") { _, _ in jsonResponse(.ok, ["messages": mailbox.messages.map(MessageDocument.init)]) }
    router.get("/mailbox/newest") { request, _ in try await newest(of: mailbox, request) }
    router.delete("/mailbox") { _, _ in
      mailbox.removeAll()
      return Response(status: .noContent)
    }
  }

  /// The newest mail, to one address if `to` names one; waits for it up to `wait` seconds.
  private func newest(of mailbox: any Mailbox, _ request: Request) async throws -> Response {
    let recipient = request.uri.queryParameters["to"].map { $0.removingPercentEncoding ?? String($0) }
    let wait = request.uri.queryParameters["wait"].flatMap { Double($0) }.flatMap { $0.isFinite ? $0 : nil } ?? 0
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

/// The routes behind what stands before every route.
private struct AdminResponder: HTTPResponder {
  let router: any HTTPResponder<ResetRequestContext>

  func respond(to request: Request, context: ResetRequestContext) async throws -> Response {
    await Front(level: .debug).respond(to: request, context) { template in
      // Where there is no route, Hummingbird has a word of its own.
      defer { template = context.endpointPath.flatMap { $0.hasPrefix("/") ? $0 : nil } ?? "none" }
      return try await router.respond(to: request, context: context)
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

/// Says in a problem document what Hummingbird says with an empty reply.
private struct NotFoundMiddleware: RouterMiddleware {
  func handle(
    _ request: Request, context: ResetRequestContext, next: (Request, ResetRequestContext) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch let error as HTTPError where error.status == .notFound {
      throw Problem.notFound
    }
  }
}
