import NIOCore
import Text

extension IPAddress {
  /// Returns `nil` if the socket address is not an IP address.
  init?(_ address: SocketAddress?) {
    switch address {
    case .v4(let address): self.init(address.address)
    case .v6(let address): self.init(address.address)
    case .unixDomainSocket, nil: return nil
    }
  }
}
