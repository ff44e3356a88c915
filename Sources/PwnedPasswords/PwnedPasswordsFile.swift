import NIOPosix
import Synchronization

/// A file that is searched for hashes.
protocol HashFile: Sendable {
  var version: ReadableFile.Version { get }

  /// Returns whether the file contains the hash. It waits for the disk.
  func contains(_ hash: SHA1Hash) throws -> Bool
}

/// A list of leaked passwords in a file: a filter that `password-reset pwned build` made, or the published list itself.
///
/// If the file is replaced or changed, the next look-up opens it again.
public final class PwnedPasswordsFile: PwnedPasswordSource {
  public let name = "file"
  private let path: String
  private let current: Mutex<any HashFile>

  /// Opens the file. Throws ``PwnedFileError`` if it is damaged, truncated or something else.
  public init(path: String) throws(PwnedFileError) {
    self.path = path
    current = Mutex(try Self.open(path))
  }

  public func contains(_ hash: SHA1Hash) async throws -> Bool {
    // A look-up may wait for the disk, which must block neither an event loop nor the threads of Swift's tasks.
    // A client that disconnects may cancel this task. In another task, that does not end the look-up, which would count as a failure.
    try await Task { try await NIOThreadPool.singleton.runIfActive { [self] in try upToDate().contains(hash) } }.value
  }

  private func upToDate() throws -> any HashFile {
    guard let version = ReadableFile.Version(path: path) else { throw PwnedFileError("it is missing") }
    return try current.withLock { file in
      if file.version != version { file = try Self.open(path) }
      return file
    }
  }

  private static func open(_ path: String) throws(PwnedFileError) -> any HashFile {
    let file = try ReadableFile(path: path)
    let start = try file.bytes(0..<min(FilterFormat.magic.count, file.version.size))
    return start == FilterFormat.magic ? try FilterFile(file) : try HashListFile(file)
  }
}
