import Foundation
import Hummingbird
import PasswordReset

/// Shows the emails that the `memory` backend keeps, so that tests and developers can read them.
struct MailboxHandlers: Sendable {
  /// The limit of the `wait` parameter, in seconds. It exceeds the time in which an email is normally sent.
  private static let longestWait = 30.0

  let mailbox: any Mailbox

  var routes: [Route] {
    [
      Route(.get, "/mailbox") { _, _, _ in .json(.ok, ["messages": mailbox.messages.map(MessageDocument.init)]) },
      Route(.get, "/mailbox/newest") { request, _, _ in try await newest(request) },
      Route(.delete, "/mailbox") { _, _, _ in
        mailbox.removeAll()
        return Response(status: .noContent)
      },
    ]
  }

  /// Returns the newest email, or the newest one to the address `to`. Waits up to `wait` seconds for it.
  private func newest(_ request: Request) async throws -> Response {
    let recipient = request.uri.queryParameters["to"].map { $0.removingPercentEncoding ?? String($0) }
    let wait = request.uri.queryParameters["wait"].flatMap { Double($0) }.flatMap { $0.isFinite ? $0 : nil } ?? 0
    let deadline = ContinuousClock.now + .seconds(min(max(wait, 0), Self.longestWait))
    while true {
      if let message = mailbox.messages.last(where: { recipient == nil || $0.recipient.lowercased() == recipient?.lowercased() }) {
        return .json(.ok, MessageDocument(message))
      }
      guard ContinuousClock.now < deadline else { throw Problem(.notFound, "There is no such email. Add wait=5 to wait up to 5 seconds for one.") }
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  private struct MessageDocument: Encodable {
    var from, to, subject, text: String
    var html: String?
    var language: String
    var reset_url, cancel_url: String?
    var message_id, date: String

    init(_ message: EmailMessage) {
      (from, to, subject, text, html) = (message.sender, message.recipient, message.subject, message.body, message.html)
      (language, reset_url, cancel_url, message_id) = (message.language, message.resetURL, message.cancelURL, message.messageID)
      date = message.date.ISO8601Format()
    }
  }
}
