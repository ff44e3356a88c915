import GRDB
import Synchronization

/// Connections for reads of a few rows by key, done on the thread that asks: they take some microseconds, and a change of threads takes more.
///
/// There are as many as threads ever read at once. None of them waits for a lock.
final class QuickReaders: Sendable {
  private let path: String
  private let configuration: Configuration
  private let idle = Mutex<[DatabaseQueue]>([])

  init(path: String, _ configuration: Configuration) throws {
    self.path = path
    self.configuration = configuration
    let first = try open()
    try first.read { db in try SQLiteStore.checkPragmas(db, busyTimeout: 0) }
    put(first)
  }

  /// - Throws: also `SQLITE_BUSY`, at once, where another connection would wait.
  func read<Result>(_ work: (Database) throws -> Result) throws -> Result {
    let reader = try idle.withLock { $0.popLast() } ?? open()
    defer { put(reader) }
    // One statement, which needs no transaction around it.
    return try reader.unsafeRead(work)
  }

  private func put(_ reader: DatabaseQueue) { idle.withLock { $0.append(reader) } }

  private func open() throws -> DatabaseQueue { try DatabaseQueue(path: path, configuration: configuration) }
}
