/// The largest sizes of one request.
public struct RequestSizeLimits: Sendable {
  public let uriBytes: Int
  public let bodyBytes: Int
  public let fieldBytes = 8 * 1024
  /// The limit for all header fields together.
  public let headerBytes = 16 * 1024
  public let fieldCount = 64
  /// The bytes of a chunked body that are not data: sizes, extensions and line ends. It is accurate to within one piece of a read.
  let chunkOverheadBytes = 8 * 1024

  public init(uriBytes: Int, bodyBytes: Int) {
    self.uriBytes = uriBytes
    self.bodyBytes = bodyBytes
  }
}
