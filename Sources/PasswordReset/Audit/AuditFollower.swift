import Foundation

/// Finds the lines that are added to the audit, each once, by reading it again and again.
///
/// An id is assigned before its line is committed, and transactions may commit in another order. So the follower remembers which ids
/// it has not seen among the known ones, and asks for them for a while: they are lines that may still be committed.
public struct AuditFollower: Sendable {
  /// How many lines one read returns at most.
  private static let batch = 1000
  /// How many missing ids are remembered at most.
  private static let gapLimit = 10_000
  /// How long a missing id is asked for, in seconds. No transaction of a store takes as long.
  private static let patience = Duration.seconds(300)

  private let reader: any AuditReader
  /// The greatest id that was read.
  private var last: Int64
  /// The ids before it that were not there, and when that was noticed.
  private var gaps: [Int64: ContinuousClock.Instant] = [:]

  /// Creates a follower of the lines that are added from now on.
  public init(_ reader: any AuditReader) async throws(StoreError) {
    self.reader = reader
    last = try await reader.lastAuditID()
    let start = max(0, last - Int64(Self.batch))
    let rows = try await reader.auditRows(after: start, or: [], limit: Self.batch)
    rememberGaps(after: start, upTo: max(last, rows.last?.id ?? 0), except: rows)
  }

  /// Whether ``next()`` will not return this line, because it was there when the follower was created.
  public func isKnown(_ row: AuditRow) -> Bool { row.id <= last && gaps[row.id] == nil }

  /// Returns new lines in the order of their ids, or none if there are none at the moment.
  public mutating func next() async throws(StoreError) -> [AuditRow] {
    // SQLite assigns ids again after the newest lines were deleted because of their age.
    let newestID = try await reader.lastAuditID()
    if newestID < last { (last, gaps) = (newestID, gaps.filter { $0.key < newestID }) }
    let rows = try await reader.auditRows(after: last, or: gaps.keys.sorted(), limit: Self.batch)
    for row in rows { gaps[row.id] = nil }
    gaps = gaps.filter { $0.value > .now - Self.patience }
    if let newest = rows.last?.id, newest > last { rememberGaps(after: last, upTo: newest, except: rows) }
    return rows
  }

  private mutating func rememberGaps(after first: Int64, upTo newest: Int64, except rows: [AuditRow]) {
    let found = Set(rows.map(\.id))
    // A sequence can jump by any number.
    let recent = max(first, newest - Int64(Self.gapLimit)) + 1
    if recent <= newest { for id in recent...newest where !found.contains(id) { gaps[id] = .now } }
    if gaps.count > Self.gapLimit { for id in gaps.keys.sorted().dropLast(Self.gapLimit) { gaps[id] = nil } }
    last = newest
  }
}
