public import Credentials
public import Foundation
public import Logging
public import Prometheus
public import ServiceLifecycle
import Synchronization

/// An audit record with its time and the request that caused it, as the store keeps it.
public struct AuditLine: Sendable, Equatable {
  /// The event and its user.
  public var record: AuditRecord
  /// The `X-Request-Id` of the request, or the name of the command, such as `users link`.
  public var requestID: String
  /// When the event happened.
  public var at: Date

  /// Creates a line of the audit.
  public init(_ record: AuditRecord, requestID: String, at: Date) {
    self.record = record
    self.requestID = requestID
    self.at = at
  }
}

/// Stores the lines of the audit.
public protocol AuditStore: Sendable {
  /// Adds lines, and returns when they are on disk.
  func append(_ lines: [AuditLine]) async throws(StoreError)

  /// Deletes up to `limit` lines that are older than `date`, and returns how many it deleted.
  func purgeAudit(before date: Date, limit: Int) async throws(StoreError) -> Int

  /// Deletes up to `limit` cancellations of links that were made before `time`, and returns how many it deleted.
  func purgeCancellations(before time: TokenTime, limit: Int) async throws(StoreError) -> Int
}

/// Writes audit records together once a second, so that a request does not wait for the disk, and deletes old lines.
///
/// Records that belong to another write, such as a new password, are committed with that write instead.
public final class AuditTrail: Service {
  /// The most lines that may wait, which is also the most per second. It keeps a flood of forged links from filling the
  /// memory and the disk.
  private static let limit = 1000
  private static let interval = Duration.seconds(1)
  private static let purgeInterval: TimeInterval = 3600
  /// A small batch, so that requests do not wait for the database.
  private static let purgeBatch = 500

  private let store: any AuditStore
  private let lifetime: TimeInterval
  private let logger: Logger
  private let now: @Sendable () -> Date
  private let lost: Counter
  private let pending = Mutex<[AuditLine]>([])

  /// Creates an audit trail, which writes when ``run()`` is running.
  /// - Parameter lifetime: The time for which a line is kept, in seconds.
  public init(store: any AuditStore, lifetime: TimeInterval, registry: Registry, logger: Logger, now: @escaping @Sendable () -> Date) {
    self.store = store
    self.lifetime = lifetime
    self.logger = logger
    self.now = now
    lost = registry.counter(
      "password_reset_audit_lost_total", "Lines missing in the audit because there were more than 1,000 per second or the disk failed.")
  }

  /// Accepts a record to be written later, and returns at once.
  public func record(_ record: AuditRecord, requestID: String) {
    let line = AuditLine(record, requestID: requestID, at: now())
    let isKept = pending.withLock { pending in
      guard pending.count < Self.limit else { return false }
      pending.append(line)
      return true
    }
    if !isKept { lost.increment() }
  }

  /// Writes until the graceful shutdown, and then writes the remaining lines.
  public func run() async {
    var nextPurge = Date.distantPast
    var isWritable = true
    while !Task.isShuttingDownGracefully, !Task.isCancelled {
      isWritable = await flush()
      // The second condition is true if the clock was set back.
      if nextPurge <= now() || nextPurge > now().addingTimeInterval(Self.purgeInterval) {
        await purge()
        nextPurge = now().addingTimeInterval(Self.purgeInterval)
      }
      // A graceful shutdown ends the wait.
      try? await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.interval) }
    }
    // If the last write failed, another one would only delay the shutdown.
    if isWritable { _ = await flush() }
    let count = pending.withLock(\.count)
    if count > 0 { logger.error("Audit records are lost because the database cannot be written", metadata: ["lines": "\(count)"]) }
  }

  private func flush() async -> Bool {
    let lines = pending.withLock(\.self)
    guard !lines.isEmpty else { return true }
    do {
      try await store.append(lines)
      pending.withLock { $0.removeFirst(lines.count) }
      return true
    } catch {
      logger.error("Cannot write audit records; they wait", metadata: ["reason": "\(error)"])
      return false
    }
  }

  /// Deletes old lines and cancellations in batches.
  private func purge() async {
    let end = now().addingTimeInterval(-lifetime)
    do {
      while try await store.purgeAudit(before: end, limit: Self.purgeBatch) == Self.purgeBatch, !Task.isShuttingDownGracefully {}
      let time = LinkCancellation.oldest(at: now())
      while try await store.purgeCancellations(before: time, limit: Self.purgeBatch) == Self.purgeBatch, !Task.isShuttingDownGracefully {}
    } catch {
      logger.error("Cannot delete old lines of the audit", metadata: ["reason": "\(error)"])
    }
  }
}
