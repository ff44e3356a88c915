public import Hummingbird
import Logging
import NIOCore
public import PasswordReset
public import Prometheus

/// The interface for the operator's machines: metrics, health and, in development, the emails that the `memory` backend keeps.
public struct AdminAPI: HTTPResponder {
  private let pipeline: RequestPipeline

  /// - Parameters:
  ///   - mailbox: the emails to show, or `nil` for none.
  ///   - allowedHosts: the Host names that a request may use, or `nil` for any.
  public init(registry: Registry, mailbox: (any Mailbox)?, allowedHosts: [String]?, isReady: @escaping @Sendable () async -> Bool) {
    let metrics = Route(.get, "/metrics") { _, _, _ in
      Response(.ok, ByteBuffer(string: await registry.text()), contentType: "text/plain; version=0.0.4; charset=utf-8")
    }
    let routes = [metrics] + OperationsHandlers(isReady: isReady).healthRoutes + (mailbox.map { MailboxHandlers(mailbox: $0).routes } ?? [])
    pipeline = RequestPipeline(routes: RouteTable(routes: routes), allowedHosts: allowedHosts.map(AllowedHosts.init), logLevel: .debug)
  }

  public func respond(to request: Request, context: ResetRequestContext) async -> Response {
    await pipeline.respond(to: request, context: context)
  }
}
