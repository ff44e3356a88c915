import Dispatch
import GRDB
import PasswordReset
import Synchronization

/// Runs concurrent writes in one transaction, so that one sync of the disk serves all of them.
///
/// The next batch gathers while the current one is being written; no write waits for others to arrive.
final class GroupCommit: Sendable {
  /// A write. It may run twice, because a batch that fails is rolled back.
  private struct Write: Sendable {
    /// Writes, and returns a closure that resumes the caller after the commit.
    var run: @Sendable (Database) throws -> @Sendable () -> Void
    var fail: @Sendable (StoreError) -> Void
    /// Whether the write gets its own transaction.
    var isAlone = false
  }

  private struct State {
    var pending: [Write] = []
    var isWriting = false
    /// Whether a batch failed because of the disk, and no write of a page has succeeded since.
    var hasDiskFailed = false
  }

  /// If this many writes are waiting, the disk is seconds behind.
  private static let queueLimit = 10_000
  /// Limits the length of one transaction, and so the time that other writers wait.
  private static let batchLimit = 1_000

  private let pool: DatabasePool
  private let files: DatabaseFiles
  private let queue = DispatchQueue(label: "password-reset.group-commit")
  private let state = Mutex(State())

  /// The users table, for an error about its triggers.
  private let userTable: String

  init(pool: DatabasePool, files: DatabaseFiles, userTable: String) { (self.pool, self.files, self.userTable) = (pool, files, userTable) }

  /// Returns the result of `work` when it is on disk.
  /// - Parameters:
  ///   - isRefusable: whether to fail with ``StoreError/overloaded`` when too many writes are waiting.
  ///   - isAlone: whether the write gets its own transaction, because it may take seconds.
  func add<Value: Sendable>(isRefusable: Bool = false, isAlone: Bool = false, _ work: @escaping @Sendable (Database) throws -> Value)
    async throws(StoreError) -> Value
  {
    let result: Result<Value, StoreError> = await withCheckedContinuation { caller in
      let write = Write(
        run: { [userTable] db in
          let value = try MissingFunction.named(in: db, table: userTable) { try work(db) }
          return { caller.resume(returning: .success(value)) }
        }, fail: { caller.resume(returning: .failure($0)) }, isAlone: isAlone)
      enqueue(write, isRefusable: isRefusable)
    }
    return try result.get()
  }

  /// Writes a page that changes nothing if the last write failed because of the disk.
  ///
  /// Another commit would not show that the disk works again, because a commit that changes no row writes nothing.
  func writeIfDiskFailed() async throws(StoreError) {
    guard state.withLock({ $0.hasDiskFailed }) else { return }
    let result: Result<Void, StoreError> = await withCheckedContinuation { caller in
      let write = Write(
        run: { db in
          try Self.writePage(in: db)
          return {
            self.state.withLock { $0.hasDiskFailed = false }
            caller.resume(returning: .success(()))
          }
        }, fail: { caller.resume(returning: .failure($0)) })
      enqueue(write, isRefusable: false)
    }
    try result.get()
  }

  /// Writes the first page unchanged; SQLite appends it to the log nevertheless.
  private static func writePage(in db: Database) throws {
    let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
    try db.execute(sql: "PRAGMA user_version = \(version)")
  }

  private func enqueue(_ write: Write, isRefusable: Bool) {
    enum Next { case start, wait, refuse }
    let next = state.withLock { state -> Next in
      guard !isRefusable || state.pending.count < Self.queueLimit else { return .refuse }
      state.pending.append(write)
      defer { state.isWriting = true }
      return state.isWriting ? .wait : .start
    }
    switch next {
    case .start: queue.async { self.writeAll() }
    case .wait: break
    case .refuse: write.fail(.overloaded)
    }
  }

  private func writeAll() {
    while let batch = takeBatch() {
      do {
        for resume in try commit(batch) { resume() }
      } catch let error where Self.isOfOneWrite(error) {
        // Run the writes one by one, so that one bad write does not fail the others.
        if batch.count == 1 { batch[0].fail(StoreError(error)) } else { writeEach(of: batch) }
      } catch {
        let isDiskBack = overwriteFailedFrames(after: error)
        let error = reason(for: error)
        for write in batch { write.fail(error) }
        if !isDiskBack { failPending(error) }
      }
    }
  }

  /// Runs the writes in one transaction, and returns the closures that resume their callers.
  ///
  /// It checks the files before the commit, so that nothing is added to a file that was moved away, and after it, in
  /// case the file was moved during the commit.
  private func commit(_ writes: [Write]) throws -> [@Sendable () -> Void] {
    let outcomes = try pool.write { db in
      let outcomes = try writes.map { try $0.run(db) }
      try files.check()
      return outcomes
    }
    try files.check()
    return outcomes
  }

  /// Overwrites the frames of a failed commit with a write that changes nothing, and records for
  /// ``writeIfDiskFailed()`` that the disk failed. Returns whether that write succeeded, so that the next writes may.
  ///
  /// After a failed fsync the frames are still in the log, and look committed to the next process that opens the file
  /// after a crash: a write that was reported as failed would reappear. The next write overwrites them.
  private func overwriteFailedFrames(after error: any Error) -> Bool {
    guard let error = error as? DatabaseError else { return false }
    if ![.SQLITE_BUSY, .SQLITE_LOCKED].contains(error.resultCode) { state.withLock { $0.hasDiskFailed = true } }
    guard [.SQLITE_IOERR, .SQLITE_FULL].contains(error.resultCode) else { return false }
    // If this fails also, the frames stay in the log; there is no other remedy.
    return (try? pool.write { db in try Self.writePage(in: db) }) != nil
  }

  private func writeEach(of batch: [Write]) {
    for (index, write) in batch.enumerated() {
      do {
        for resume in try commit([write]) { resume() }
      } catch let error where Self.isOfOneWrite(error) {
        write.fail(StoreError(error))
      } catch {
        let isDiskBack = overwriteFailedFrames(after: error)
        let error = reason(for: error)
        for write in batch[index...] { write.fail(error) }
        if !isDiskBack { failPending(error) }
        return
      }
    }
  }

  /// Returns whether the error is that of one write, and not of the disk or the database.
  static func isOfOneWrite(_ error: any Error) -> Bool {
    if error is StoreError { return false }
    guard let error = error as? DatabaseError else { return true }
    return [.SQLITE_CONSTRAINT, .SQLITE_ERROR, .SQLITE_MISMATCH, .SQLITE_TOOBIG].contains(error.resultCode)
  }

  /// Returns the error for the callers of a whole batch. If the file is missing, that says more than the error of
  /// SQLite that it caused.
  private func reason(for error: any Error) -> StoreError {
    do { try files.check() } catch { return error }
    return StoreError(error)
  }

  /// Fails the writes that arrived while a batch waited for a lock or a disk that still fails. They have waited as long
  /// as the batch, and must not wait that long again.
  private func failPending(_ error: StoreError) {
    let waiting = state.withLock { state in
      defer { state.pending = [] }
      return state.pending
    }
    for write in waiting { write.fail(error) }
  }

  private func takeBatch() -> [Write]? {
    state.withLock { state in
      guard !state.pending.isEmpty else {
        state.isWriting = false
        return nil
      }
      let shared = state.pending.prefix(Self.batchLimit).prefix { !$0.isAlone }
      let batch = Array(shared.isEmpty ? state.pending.prefix(1) : shared)
      state.pending.removeFirst(batch.count)
      return batch
    }
  }
}
