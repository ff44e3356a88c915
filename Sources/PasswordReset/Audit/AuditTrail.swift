public import Foundation
public import Logging
public import Prometheus
public import ServiceLifecycle
import Synchronization

/// A line of the audit with its time and the request that it belongs to.
public struct AuditLine: Sendable, Equatable {
  public var record: AuditRecord
  public var requestID: String
  public var at: Date

  public init(_ record: AuditRecord, requestID: String, at: Date) {
    self.record = record
    self.requestID = requestID
    self.at = at
  }
}

/// Where the audit is kept.
public protocol AuditStore: Sendable {
  /// Returns when the lines are on disk.
  func append(_ lines: [AuditLine]) async throws(StoreError)

  /// Deletes up to `limit` lines from before `date`; how many it deleted.
  func purgeAudit(before date: Date, limit: Int) async throws(StoreError) -> Int
}

/// Takes the lines that no other write carries, so that a request need not wait for the disk to be answered, and writes them together a second later;
/// deletes old lines.
///
/// What others write with their own transaction does not come here.
public final class AuditTrail: Service {
  /// Whoever opens made-up links by the thousand must not fill the memory, nor the disk faster than this many lines a second.
  private static let limit = 1000
  private static let interval = Duration.seconds(1)
  private static let purgeInterval: TimeInterval = 3600
  /// Small, so that nobody waits for the database.
  private static let purgeBatch = 500

  private let store: any AuditStore
  private let lifetime: TimeInterval
  private let logger: Logger
  private let now: @Sendable () -> Date
  private let lost: Counter
  private let pending = Mutex<[AuditLine]>([])

  /// - Parameter lifetime: seconds for which a line is kept.
  public init(store: any AuditStore, lifetime: TimeInterval, registry: Registry, logger: Logger, now: @escaping @Sendable () -> Date) {
    self.store = store
    self.lifetime = lifetime
    self.logger = logger
    self.now = now
    lost = registry.counter("password_reset_audit_lost_total", "Lines that the audit has no place for: more than 1,000 a second, or no disk.")
  }

  /// Takes a record and returns at once.
  public func record(_ record: AuditRecord, requestID: String) {
    let line = AuditLine(record, requestID: requestID, at: now())
    let isKept = pending.withLock { pending in
      guard pending.count < Self.limit else { return false }
      pending.append(line)
      return true
    }
    if !isKept { lost.increment() }
  }

  /// Works until the graceful shutdown, and then writes what is left.
  public func run() async {
    var nextPurge = Date.distantPast
    var isWritable = true
    while !Task.isShuttingDownGracefully, !Task.isCancelled {
      isWritable = await flush()
      // Also if the clock was set back.
      if nextPurge <= now() || nextPurge > now().addingTimeInterval(Self.purgeInterval) {
        await purge()
        nextPurge = now().addingTimeInterval(Self.purgeInterval)
      }
      // Told to stop, it goes on at once.
      try? await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.interval) }
    }
    // A database that could not be written a moment ago is not waited for again.
    if isWritable { _ = await flush() }
    let count = pending.withLock(\.count)
    if count > 0 { logger.error("Lines of the audit are lost, as the database cannot be written", metadata: ["lines": "\(count)"]) }
  }

  private func flush() async -> Bool {
    let lines = pending.withLock(\.self)
    guard !lines.isEmpty else { return true }
    do {
      try await store.append(lines)
      pending.withLock { $0.removeFirst(lines.count) }
      return true
    } catch {
      logger.error("The audit cannot be written", metadata: ["reason": "\(error)"])
      return false
    }
  }

  /// Deletes old lines, a batch at a time.
  private func purge() async {
    let end = now().addingTimeInterval(-lifetime)
    do {
      while try await store.purgeAudit(before: end, limit: Self.purgeBatch) == Self.purgeBatch, !Task.isShuttingDownGracefully {}
    } catch {
      logger.error("Old lines of the audit cannot be deleted", metadata: ["reason": "\(error)"])
    }
  }
}
