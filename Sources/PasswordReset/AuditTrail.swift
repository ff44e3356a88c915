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

  /// Returns at once.
  public func note(_ record: AuditRecord, requestID: String) {
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
    while !Task.isShuttingDownGracefully, !Task.isCancelled {
      await flush()
      // Also if the clock was set back.
      if nextPurge <= now() || nextPurge > now().addingTimeInterval(Self.purgeInterval) { nextPurge = await purge() }
      // Told to stop, it goes on at once.
      try? await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.interval) }
    }
    await flush()
    lost.increment(by: pending.withLock(\.count))
  }

  private func flush() async {
    let lines = pending.withLock(\.self)
    guard !lines.isEmpty else { return }
    do {
      try await store.append(lines)
      pending.withLock { $0.removeFirst(lines.count) }
    } catch {
      logger.error("The audit cannot be written; it is tried again", metadata: ["reason": "\(error)"])
    }
  }

  /// Deletes a batch of old lines; when to do so again.
  private func purge() async -> Date {
    do {
      let count = try await store.purgeAudit(before: now().addingTimeInterval(-lifetime), limit: Self.purgeBatch)
      // A full batch: there may be more, at the next look.
      return count == Self.purgeBatch ? now() : now().addingTimeInterval(Self.purgeInterval)
    } catch {
      logger.error("Old lines of the audit cannot be deleted", metadata: ["reason": "\(error)"])
      return now().addingTimeInterval(Self.purgeInterval)
    }
  }
}
