import Foundation
import PasswordReset
import Webhooks

/// Where and which webhooks are sent.
struct WebhookSettings: SettingsGroup, Sendable {
  /// The receiver, or `nil` if none is configured.
  let endpoint: WebhookEndpoint?
  /// The events that are reported; none without a receiver.
  let events: Set<WebhookEvent>
  /// Whether `WEBHOOK_ALLOWED_NETWORKS` allows nearly every address.
  let allowsEveryone: Bool
  /// The settings that have a value although there is no receiver.
  let unusedSettings: [SettingName]

  init(from reader: inout SettingsReader) {
    let url = reader.optionalString(.webhookURL)
    let networks =
      reader.optionalValue(
        .webhookAllowedNetworks, message: "must be addresses or networks separated by commas, such as 10.1.2.0/24,fd00::1.", WebhookNetworks.init)
      ?? .none
    allowsEveryone = networks.coverEveryone
    let secrets =
      reader.optionalValue(
        .webhookSecret, message: "must be whsec_ and 24 to 64 bytes in base64, or two such secrets separated by a comma.",
        hint: "Generate one with `echo whsec_$(openssl rand -base64 32)`.", Self.secrets)
    let subscription = reader.value(.webhookEvents, message: Self.eventsMessage, Self.events)
    events = url == nil ? [] : subscription
    endpoint = url.flatMap { Self.endpoint($0, secrets ?? [], networks, &reader) }
    let others: [SettingName] = [.webhookSecret, .webhookEvents, .webhookAllowedNetworks]
    unusedSettings = url == nil ? others.filter { reader.isSet($0) } : []
    if url != nil, secrets == nil, !reader.isSet(.webhookSecret) {
      let hint = "Generate one with `echo whsec_$(openssl rand -base64 32)`, and give it to the receiver."
      reader.addError(.webhookSecret, "is required because WEBHOOK_URL is set.", kind: .conflictingSettings, hint: hint)
    }
  }

  /// Returns one secret, or two.
  private static func secrets(_ text: String) -> [WebhookEndpoint.Secret]? {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false)
    let secrets = parts.compactMap { WebhookEndpoint.Secret($0) }
    return secrets.count == parts.count && secrets.count <= 2 ? secrets : nil
  }

  private static let eventsMessage =
    "must be events separated by commas, of \(WebhookEvent.allCases.map(\.rawValue).joined(separator: ", "))."

  private static func events(_ text: String) -> Set<WebhookEvent>? {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false)
    let events = parts.compactMap { WebhookEvent(rawValue: $0.filter { $0 != " " }) }
    return events.count == parts.count ? Set(events) : nil
  }

  private static func endpoint(
    _ url: String, _ secrets: [WebhookEndpoint.Secret], _ networks: WebhookNetworks, _ reader: inout SettingsReader
  ) -> WebhookEndpoint? {
    do {
      return try WebhookEndpoint(url: url, secrets: secrets, allowedNetworks: networks, authoritiesFile: reader.certificateAuthoritiesFile())
    } catch {
      switch error {
      case .form:
        let hint = "It has no user name and no fragment. Write an internationalized host name in its ASCII form, xn--…"
        reader.addError(.webhookURL, "must be a URL such as https://www.example.com/webhooks/password-reset.", hint: hint)
      case .unprotected:
        let hint = "Only a receiver on this machine can have http: http://127.0.0.1:8000/webhooks."
        reader.addError(.webhookURL, "must begin with https://.", kind: .unprotectedWebhook, hint: hint)
      case .forbidden(let reason):
        reader.addError(.webhookURL, "leads to a private network: \(reason).", kind: .forbiddenWebhookAddress)
      }
      return nil
    }
  }

  /// Returns a client for the receiver, or `nil` if none is configured.
  func makeClient(connections: Int, now: @escaping @Sendable () -> Date) -> WebhookClient? {
    endpoint.map { WebhookClient($0, connections: connections, now: now) }
  }
}
