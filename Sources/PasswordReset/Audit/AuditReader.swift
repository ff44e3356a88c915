public import Credentials
public import Foundation

/// The audit as the operator's command reads it.
public protocol AuditReader: Sendable {
  /// Returns the newest `limit` lines that match the filter, the oldest of them first.
  func auditRows(_ filter: AuditFilter, limit: Int) async throws(StoreError) -> [AuditRow]

  /// Returns up to `limit` lines whose ids are greater than `id` or among `others`, in the order of their ids.
  func auditRows(after id: Int64, or others: [Int64], limit: Int) async throws(StoreError) -> [AuditRow]

  /// Returns the greatest id of a line, or 0 if there are no lines.
  func lastAuditID() async throws(StoreError) -> Int64
}

/// A line of the audit as the operator sees it, from any release.
public struct AuditRow: Sendable, Equatable {
  public var id: Int64
  public var at: Date
  /// The raw value of an ``AuditEvent``; another release may have written one that this release does not know.
  public var event: String
  public var userID: UserID?
  /// The keyed hash of the address or user name.
  public var identifierKey: String?
  /// The keyed hash of the client's network.
  public var clientKey: String?
  /// More about the event, as a JSON object.
  public var detail: String?
  public var requestID: String

  public init(id: Int64, at: Date, event: String, userID: UserID?, identifierKey: String?, requestID: String) {
    self.id = id
    self.at = at
    self.event = event
    self.userID = userID
    self.identifierKey = identifierKey
    self.requestID = requestID
  }
}

/// Selects lines of the audit. A line matches if it matches every property that is set.
public struct AuditFilter: Sendable {
  public var event: AuditEvent?
  public var userID: UserID?
  /// The line has one of these keys.
  public var identifierKeys: [String]?
  /// The line has one of these keys of a client's network.
  public var clientKeys: [String]?
  public var requestID: String?
  /// The line was written at this time or later.
  public var since: Date?

  public init() {}

  /// Returns whether a line matches.
  public func matches(_ row: AuditRow) -> Bool {
    (event == nil || event?.rawValue == row.event) && (userID == nil || userID == row.userID)
      && Self.contains(identifierKeys, row.identifierKey) && Self.contains(clientKeys, row.clientKey)
      && (requestID == nil || requestID == row.requestID) && since.map { $0 <= row.at } != false
  }

  private static func contains(_ keys: [String]?, _ key: String?) -> Bool {
    guard let keys else { return true }
    return key.map(keys.contains) == true
  }
}
