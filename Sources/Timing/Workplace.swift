import Foundation
import Synchronization

/// A folder for this run alone. It goes when the run ends, also by a signal, and what was started in it stops.
final class Workplace: Sendable {
  /// What the largest database and the log of a server take.
  private static let space = 512 * 1024 * 1024
  private static let memory = "/dev/shm"

  let path: String
  private let children = Mutex<Set<Int32>>([])

  /// In `TMPDIR` if that is set, else in memory if there is space: a commit waits for the disk, and the disk takes its time as it likes.
  init() throws {
    let manager = FileManager.default
    // Without such a file system there is no space in it.
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
    // A folder that stays behind spoils no figure.
    try? FileManager.default.removeItem(atPath: path)
  }

  private func clearUp(on number: Int32) {
    signal(number, SIG_IGN)
    let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
    source.setEventHandler { [self] in
      // The handler keeps the source, and with it itself.
      source.cancel()
      clearUp()
      exit(128 + number)
    }
    source.resume()
  }
}
