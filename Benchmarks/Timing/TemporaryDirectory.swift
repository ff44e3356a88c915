import Foundation
import Synchronization

/// A temporary folder for this run. `clearUp` removes it and stops the servers in it, and so does a signal that ends the run.
final class TemporaryDirectory: Sendable {
  /// The space that the largest database and a server's log need.
  private static let space = 512 * 1024 * 1024
  private static let memory = "/dev/shm"

  let path: String
  private let children = Mutex<Set<Int32>>([])

  /// Creates the folder in `TMPDIR` if it is set, otherwise in memory if there is space: commits then do not wait for the disk, whose speed varies.
  init() throws {
    let manager = FileManager.default
    // This is `nil` without such a file system.
    let free = try? manager.attributesOfFileSystem(forPath: Self.memory)[.systemFreeSize] as? NSNumber
    let isInMemory = ProcessInfo.processInfo.environment["TMPDIR"] == nil && (free?.intValue ?? 0) > Self.space
    let parent = isInMemory ? Self.memory : manager.temporaryDirectory.path
    path = "\(parent)/password-reset-timing-\(UUID().uuidString)"
    try manager.createDirectory(atPath: path, withIntermediateDirectories: true)
    for number in [SIGINT, SIGTERM] { clearUp(on: number) }
  }

  func adopt(_ child: Int32) { children.withLock { _ = $0.insert(child) } }

  func release(_ child: Int32) { children.withLock { _ = $0.remove(child) } }

  func clearUp() {
    for child in children.withLock({ $0 }) { kill(child, SIGTERM) }
    // A folder that remains does not affect the measurement.
    try? FileManager.default.removeItem(atPath: path)
  }

  private func clearUp(on number: Int32) {
    signal(number, SIG_IGN)
    let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
    source.setEventHandler { [self] in
      // The handler retains the source, and the source retains the handler.
      source.cancel()
      clearUp()
      exit(128 + number)
    }
    source.resume()
  }
}
