/// The largest sizes of one request.
public struct RequestSizeLimits: Sendable {
  public let uriBytes: Int
  public let bodyBytes: Int
  /// The limit for the URI and all header fields together. One field may take all of it, because a site's cookies may be large.
  public let headerBytes = 16 * 1024
  public let fieldCount = 64
  /// The limits of the parser, which knows nothing about a request that exceeds them. They are higher, so that the
  /// response to a request with too many headers can have the CORS headers of the request's origin.
  let parsedHeaderBytes = 32 * 1024
  let parsedFieldCount = 128
  /// The bytes of a chunked body that are not data: sizes, extensions and line ends. It is accurate to within one piece of a read.
  let chunkOverheadBytes = 8 * 1024

  public init(uriBytes: Int, bodyBytes: Int) {
    self.uriBytes = uriBytes
    self.bodyBytes = bodyBytes
  }
}
