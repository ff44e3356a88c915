import Dispatch
import GRDB
import PasswordReset
import Synchronization

/// Does what is to be written at one time in one transaction, so that one sync of the disk serves all of it.
///
/// While a batch is being written the next one gathers; there is no waiting for company.
final class GroupCommit: Sendable {
  /// Something to be written. It may run twice: a batch that fails is undone.
  private struct Job: Sendable {
    /// Returns what tells the caller, to be called after the commit.
    var run: @Sendable (Database) throws -> @Sendable () -> Void
    var fail: @Sendable (StoreError) -> Void
  }

  private struct State {
    var pending: [Job] = []
    var isWriting = false
    /// Whether a batch has failed because of the disk, and no write of a page has succeeded since.
    var hasDiskFailed = false
  }

  /// More than this many that wait mean that the disk has fallen seconds behind.
  private static let queueLimit = 10_000
  /// Bounds one transaction, and with it the wait of whatever else writes.
  private static let batchLimit = 1_000

  private let pool: DatabasePool
  private let files: DatabaseFiles
  private let queue = DispatchQueue(label: "password-reset.group-commit")
  private let state = Mutex(State())

  init(pool: DatabasePool, files: DatabaseFiles) { (self.pool, self.files) = (pool, files) }

  /// Returns the result of `work` when it is on disk.
  /// - Parameter isRefusable: whether it is refused as ``StoreError/overloaded`` when too much waits.
  func add<Value: Sendable>(isRefusable: Bool = false, _ work: @escaping @Sendable (Database) throws -> Value) async throws(StoreError) -> Value {
    let result: Result<Value, StoreError> = await withCheckedContinuation { caller in
      let job = Job(
        run: { db in
          let value = try work(db)
          return { caller.resume(returning: .success(value)) }
        }, fail: { caller.resume(returning: .failure($0)) })
      enqueue(job, isRefusable: isRefusable)
    }
    return try result.get()
  }

  /// After a failure of the disk, writes a page that changes nothing. Otherwise it does nothing.
  ///
  /// Other commits do not show that the disk works again: one that changes no row writes nothing.
  func writeIfDiskFailed() async throws(StoreError) {
    guard state.withLock({ $0.hasDiskFailed }) else { return }
    let result: Result<Void, StoreError> = await withCheckedContinuation { caller in
      let job = Job(
        run: { db in
          try Self.writePage(in: db)
          return {
            self.state.withLock { $0.hasDiskFailed = false }
            caller.resume(returning: .success(()))
          }
        }, fail: { caller.resume(returning: .failure($0)) })
      enqueue(job, isRefusable: false)
    }
    try result.get()
  }

  /// Writes the first page as it is; the log takes it all the same.
  private static func writePage(in db: Database) throws {
    let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
    try db.execute(sql: "PRAGMA user_version = \(version)")
  }

  private func enqueue(_ job: Job, isRefusable: Bool) {
    enum Next { case start, wait, refuse }
    let next = state.withLock { state -> Next in
      guard !isRefusable || state.pending.count < Self.queueLimit else { return .refuse }
      state.pending.append(job)
      defer { state.isWriting = true }
      return state.isWriting ? .wait : .start
    }
    switch next {
    case .start: queue.async { self.writeAll() }
    case .wait: break
    case .refuse: job.fail(.overloaded)
    }
  }

  private func writeAll() {
    while let batch = takeBatch() {
      do {
        for tell in try commit(batch) { tell() }
      } catch let error where Self.isOfOneJob(error) {
        // The others must not suffer for it.
        if batch.count == 1 { batch[0].fail(StoreError(error)) } else { writeEach(of: batch) }
      } catch {
        overwriteFailedFrames(after: error)
        let error = reason(for: error)
        for job in batch { job.fail(error) }
        failPending(error)
      }
    }
  }

  /// Writes the jobs in one transaction, and returns what tells their callers.
  ///
  /// The files are checked before the commit, so that nothing is added to a file that was moved away, and after it, as it may have been moved meanwhile.
  private func commit(_ jobs: [Job]) throws -> [@Sendable () -> Void] {
    let outcomes = try pool.write { db in
      let outcomes = try jobs.map { try $0.run(db) }
      try files.check()
      return outcomes
    }
    try files.check()
    return outcomes
  }

  /// What could not be synced stands in the log all the same, whole as far as anybody can see: whoever opens the file after a crash would find it, and
  /// what was refused would happen after all. What is written next takes its place, so something is written that changes nothing.
  /// It also notes that the disk has failed, for ``writeIfDiskFailed()``.
  private func overwriteFailedFrames(after error: any Error) {
    guard let error = error as? DatabaseError else { return }
    if ![.SQLITE_BUSY, .SQLITE_LOCKED].contains(error.resultCode) { state.withLock { $0.hasDiskFailed = true } }
    guard [.SQLITE_IOERR, .SQLITE_FULL].contains(error.resultCode) else { return }
    // Should this fail too, it is in the log nevertheless; there is nothing else to be done.
    try? pool.write { db in try Self.writePage(in: db) }
  }

  private func writeEach(of batch: [Job]) {
    for (index, job) in batch.enumerated() {
      do {
        for tell in try commit([job]) { tell() }
      } catch let error where Self.isOfOneJob(error) {
        job.fail(StoreError(error))
      } catch {
        overwriteFailedFrames(after: error)
        let error = reason(for: error)
        for job in batch[index...] { job.fail(error) }
        return failPending(error)
      }
    }
  }

  /// Whether what was to be written is at fault, and not the disk.
  private static func isOfOneJob(_ error: any Error) -> Bool {
    if error is StoreError { return false }
    guard let error = error as? DatabaseError else { return true }
    return [.SQLITE_CONSTRAINT, .SQLITE_ERROR, .SQLITE_MISMATCH, .SQLITE_TOOBIG].contains(error.resultCode)
  }

  /// What the callers get for an error of a whole batch: that the file is gone says more than how SQLite failed because of it.
  private func reason(for error: any Error) -> StoreError {
    do { try files.check() } catch { return error }
    return StoreError(error)
  }

  /// What came while the disk or a lock kept a batch waiting in vain has waited as long; it must not wait that long again.
  private func failPending(_ error: StoreError) {
    let waiting = state.withLock { state in
      defer { state.pending = [] }
      return state.pending
    }
    for job in waiting { job.fail(error) }
  }

  private func takeBatch() -> [Job]? {
    state.withLock { state in
      guard !state.pending.isEmpty else {
        state.isWriting = false
        return nil
      }
      let batch = Array(state.pending.prefix(Self.batchLimit))
      state.pending.removeFirst(batch.count)
      return batch
    }
  }
}
