import Credentials
import Crypto
public import Foundation
import OutgoingHTTP
public import PasswordReset
import Text

/// Sends webhooks by HTTPS as the Standard Webhooks specification describes.
public final class WebhookClient: WebhookBackend {
  /// The longest time for one attempt in seconds.
  private static let timeout: TimeInterval = 10
  /// How many bytes of a reply's header, and of its body, are read.
  private static let replyLimit = 64 * 1024

  private let endpoint: WebhookEndpoint
  private let client: HTTPClient
  private let now: @Sendable () -> Date

  /// Creates a client. It connects when there is a webhook to send.
  /// - Parameter connections: The highest number of webhooks that are sent at once.
  public init(_ endpoint: WebhookEndpoint, connections: Int = 1, now: @escaping @Sendable () -> Date = { Date() }) {
    self.endpoint = endpoint
    self.now = now
    client = HTTPClient(
      connections: connections, rules: AddressRules(allowed: endpoint.allowedNetworks), authoritiesFile: endpoint.authoritiesFile)
  }

  /// What a receiver answered.
  public struct Answer: Sendable {
    public var status: Int
    /// The first part of the body.
    public var body: Data
    /// How many seconds the receiver asked to wait.
    fileprivate var retryAfter: TimeInterval?

    /// Whether the receiver accepted the webhook.
    public var isAccepted: Bool { (200...299).contains(status) }
  }

  public func send(_ message: WebhookMessage) async throws(WebhookError) {
    let answer = try await post(message)
    guard !answer.isAccepted else { return }
    // By these the receiver, or a proxy in front of it, says that others will not fare better.
    let isOutage = [429, 502, 503, 504].contains(answer.status)
    let hint = (300...399).contains(answer.status) ? "; redirects are not followed: set WEBHOOK_URL to the final address" : ""
    throw WebhookError("the receiver answered with status \(answer.status)\(hint)", isOutage: isOutage, retryAfter: answer.retryAfter)
  }

  /// Sends a message and returns the answer, whether or not the receiver accepted the message.
  public func post(_ message: WebhookMessage) async throws(WebhookError) -> Answer {
    let body = message.body
    var request = HTTPClient.Request(url: endpoint.url)
    request.headers = [("Content-Type", "application/json"), ("User-Agent", "password-reset")] + headers(of: message, body)
    request.body = body
    (request.timeout, request.replyLimit) = (Self.timeout, Self.replyLimit)
    do {
      let reply = try await client.send(request)
      return Answer(status: reply.status, body: reply.body, retryAfter: retryAfter(reply.headers["retry-after"]))
    } catch {
      switch error {
      case .cancelled: throw WebhookError("the service is stopping", isOutage: true)
      case .failed(let reason): throw WebhookError(reason, isOutage: true)
      case .forbidden(let address): throw WebhookError(WebhookEndpoint.forbidden(address), isOutage: true)
      }
    }
  }

  public func stop() { client.stop() }

  private func headers(of message: WebhookMessage, _ body: Data) -> [(name: String, value: String)] {
    let timestamp = "\(Int(now().timeIntervalSince1970))"
    let signed = Data("\(message.id).\(timestamp).".utf8) + body
    let signatures = endpoint.secrets.map { secret in
      "v1," + Data(HMAC<SHA256>.authenticationCode(for: signed, using: SymmetricKey(data: secret.key))).base64EncodedString()
    }
    return [("webhook-id", message.id), ("webhook-timestamp", timestamp), ("webhook-signature", signatures.joined(separator: " "))]
  }

  /// Reads the seconds or the date of a `Retry-After` header.
  private func retryAfter(_ text: String?) -> TimeInterval? {
    guard let text else { return nil }
    if let seconds = UInt32(text) { return TimeInterval(seconds) }
    return Self.date(text).map { max(0, $0.timeIntervalSince(now())) }
  }

  /// Reads a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
  private static func date(_ text: String) -> Date? {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = .gmt
    formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
    return formatter.date(from: text)
  }
}

extension WebhookMessage {
  /// The body. It is the same for all attempts.
  var body: Data {
    // The texts come from the database, where keys may contain any character.
    func quoted(_ text: String) -> String {
      let encoder = JSONEncoder()
      encoder.outputFormatting = .withoutEscapingSlashes
      // A text can always be encoded.
      return (try? encoder.encode(text)).map { String(decoding: $0, as: UTF8.self) } ?? "null"
    }
    let user = userID.map { quoted($0.text) } ?? "null"
    return Data(
      """
      {"type":\(quoted(type)),"timestamp":"\(time.rfc3339())","data":{"user_id":\(user),"request_id":\(quoted(requestID))}}
      """.utf8)
  }
}
