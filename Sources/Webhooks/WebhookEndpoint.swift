import Foundation
import OutgoingHTTP
import Text

/// Where webhooks go, and the secrets that sign them.
public struct WebhookEndpoint: Sendable {
  /// A secret that signs webhooks.
  public struct Secret: Sendable, Equatable {
    let key: Data

    /// Reads `whsec_` and 24 to 64 bytes in base64, or returns `nil`.
    public init?(_ text: some StringProtocol) {
      guard text.hasPrefix("whsec_"), let key = Data(base64Encoded: String(text.dropFirst(6))), (24...64).contains(key.count) else { return nil }
      self.key = key
    }
  }

  /// Why a text cannot be the address of a receiver.
  public enum Fault: Error, Sendable, Equatable {
    /// It is no URL with the scheme `https` or `http` and a host, or it has a user name or a fragment.
    case form
    /// The scheme is `http`, and the host is another machine.
    case unprotected
    /// The host is an address in a private network that is not allowed.
    case forbidden(reason: String)
  }

  /// The URL of the receiver.
  public let url: String
  let secrets: [Secret]
  let allowedNetworks: [IPNetwork]
  /// The file with the authorities to trust instead of the system's, or `nil`.
  let authoritiesFile: String?
  /// Whether webhooks are sent without TLS, to this machine.
  public let isPlain: Bool

  /// Creates an endpoint.
  /// - Parameters:
  ///   - secrets: The secrets, of which each signs every webhook: one, or two during rotation.
  ///   - allowedNetworks: Private networks to which webhooks may be sent.
  public init(url: String, secrets: [Secret], allowedNetworks: WebhookNetworks = .none, authoritiesFile: String? = nil) throws(Fault) {
    guard let host = Self.host(in: url) else { throw .form }
    isPlain = url.hasPrefix("http://")
    let address = IPAddress(host)
    let isLocal = host == "localhost" || address.map(AddressRules.isLoopback) == true
    if isPlain, !isLocal { throw .unprotected }
    if let address, !isLocal, !AddressRules(allowed: allowedNetworks.networks).permits(address) {
      throw .forbidden(reason: Self.forbidden(address))
    }
    (self.url, self.secrets, self.authoritiesFile) = (url, secrets, authoritiesFile)
    self.allowedNetworks = allowedNetworks.networks
  }

  /// Returns the host of the URL in lowercase and without brackets, or `nil` if the text cannot be the address of a receiver.
  private static func host(in url: String) -> String? {
    guard url.hasPrefix("https://") || url.hasPrefix("http://"), url.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), !url.contains("\\"),
      let parts = URLComponents(string: url), parts.user == nil, parts.password == nil, parts.fragment == nil, let host = parts.host
    else { return nil }
    let bare = host.lowercased().trimmingCharacters(in: ["[", "]"])
    return IPAddress(bare) != nil || HostName.isName(bare) ? bare : nil
  }

  static func forbidden(_ address: IPAddress) -> String {
    "\(address) is not a public address; if it is the receiver's, add it or its network to WEBHOOK_ALLOWED_NETWORKS"
  }
}

/// Private networks to which webhooks may be sent: `WEBHOOK_ALLOWED_NETWORKS`.
public struct WebhookNetworks: Sendable {
  let networks: [IPNetwork]

  public static let none = WebhookNetworks(networks: [])

  private init(networks: [IPNetwork]) { self.networks = networks }

  /// Reads addresses and networks separated by commas, such as `10.0.0.0/8,fd00::1`. Returns `nil` if one of them is invalid.
  public init?(_ text: String) {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { IPNetwork($0.trimmed) }
    networks = parts.compactMap(\.self)
    guard networks.count == parts.count else { return nil }
  }

  /// Whether a network is so large that it contains addresses of strangers.
  public var coverEveryone: Bool { networks.contains(where: \.coversEveryone) }
}
