public import Hummingbird
import Logging
import NIOCore
import PasswordReset
import Text

/// The context of one request: its ID, its logger, and the address of its connection.
public struct ResetRequestContext: RequestContext {
  public var coreContext: CoreRequestContextStorage
  let requestID: String
  /// The address of the client, which a trusted proxy may have forwarded. The pipeline finds it out before it calls a handler.
  var client: IPAddress?
  private let address: SocketAddress?

  public init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    requestID = RequestID.make()
    address = source.channel.remoteAddress
  }

  /// Creates the context of a request that another application's router received.
  init(_ context: some RemoteAddressRequestContext) {
    coreContext = context.coreContext
    requestID = RequestID.make()
    address = context.remoteAddress
  }

  /// A logger that adds the request ID.
  var log: Logger {
    var log = logger
    log[metadataKey: "request_id"] = "\(requestID)"
    return log
  }

  /// The address at the other end of the connection: the client's, or a proxy's.
  var peer: IPAddress? { IPAddress(address) }

  /// What the audit records about the client.
  var origin: RequestOrigin { RequestOrigin(requestID: requestID, clientNetwork: client?.network) }
}
