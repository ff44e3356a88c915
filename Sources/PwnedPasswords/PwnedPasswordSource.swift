/// Knows which passwords have leaked.
public protocol PwnedPasswordSource: Sendable {
  /// The name of the source in metrics and logs: `file` or `api`.
  var name: String { get }

  /// Returns whether a password with this hash has leaked. Throws if the source cannot say.
  func contains(_ hash: SHA1Hash) async throws -> Bool
}
