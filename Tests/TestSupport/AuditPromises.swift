import Credentials
import Foundation
import PasswordReset
import Testing

/// The promises of ``AuditStore`` and ``AuditReader``.
public let auditPromises: [StorePromise] = [
  StorePromise("returns the newest lines, the oldest of them first") { store in
    let ids = try await fill(store)
    let rows = try await store.auditRows(AuditFilter(), limit: 10)
    #expect(rows.map(\.requestID) == ["r0", "r1", "r2", "r3"])
    var second = AuditRow(
      id: rows[1].id, at: start.addingTimeInterval(1), event: "mailed", userID: ids[0], identifierKey: "k1", requestID: "r1")
    (second.clientKey, second.detail) = ("c1", #"{"rows":1}"#)
    #expect(rows[1] == second)
    #expect(try await store.auditRows(AuditFilter(), limit: 2) == Array(rows.suffix(2)))
  },
  StorePromise("finds lines by each property, and by all that are set") { store in
    let ids = try await fill(store)
    func found(_ set: (inout AuditFilter) -> Void) async throws -> [String] {
      var filter = AuditFilter()
      set(&filter)
      let rows = try await store.auditRows(filter, limit: 10)
      #expect(try await store.auditRows(AuditFilter(), limit: 10).filter(filter.matches) == rows)
      return rows.map(\.requestID)
    }
    #expect(try await found { $0.event = .mailed } == ["r1", "r3"])
    #expect(try await found { $0.userID = ids[0] } == ["r1", "r2"])
    #expect(try await found { $0.identifierKeys = ["k1", "k3"] } == ["r1", "r3"])
    #expect(try await found { $0.identifierKeys = [] } == [])
    #expect(try await found { $0.clientKeys = ["c1", "c9"] } == ["r1"])
    #expect(try await found { $0.clientKeys = [] } == [])
    #expect(try await found { $0.requestID = "r2" } == ["r2"])
    #expect(try await found { $0.since = start.addingTimeInterval(2) } == ["r2", "r3"])
    #expect(try await found { ($0.event, $0.userID) = (.mailed, ids[0]) } == ["r1"])
    #expect(try await found { ($0.event, $0.userID) = (.requested, ids[0]) } == [])
  },
  StorePromise("returns each new line to a follower once, by pages, and knows which lines were there before") { store in
    _ = try await fill(store)
    var follower = try await AuditFollower(store)
    #expect(try await store.auditRows(AuditFilter(), limit: 10).allSatisfy(follower.isKnown))
    #expect(try await follower.next().isEmpty)
    for count in [1, 2500] {
      let lines = (0..<count).map { AuditLine(AuditRecord(.requested), requestID: "new\($0)", at: start) }
      try await store.append(lines)
      #expect(try await !store.auditRows(AuditFilter(), limit: 9999).filter { $0.requestID == "new0" }.contains(where: follower.isKnown))
      var found: [AuditRow] = []
      // A read returns a thousand lines at most.
      for _ in 0...count / 1000 { found += try await follower.next() }
      #expect(found.map(\.requestID) == lines.map(\.requestID))
      #expect(try await follower.next().isEmpty)
      _ = try await store.purgeAudit(before: start.addingTimeInterval(1), limit: 9999)
      #expect(try await follower.next().isEmpty)
    }
  },
  StorePromise("continues for a follower after all lines were deleted") { store in
    _ = try await fill(store)
    var follower = try await AuditFollower(store)
    #expect(try await store.purgeAudit(before: start.addingTimeInterval(99), limit: 99) == 4)
    #expect(try await follower.next().isEmpty)
    try await store.append([AuditLine(AuditRecord(.requested), requestID: "new", at: start)])
    #expect(try await follower.next().map(\.requestID) == ["new"])
    #expect(try await follower.next().isEmpty)
  },
  StorePromise("deletes lines from before a date, the oldest first, a batch at a time") { store in
    _ = try await fill(store)
    let date = start.addingTimeInterval(3)
    for (deleted, left) in [(2, ["r2", "r3"]), (1, ["r3"]), (0, ["r3"])] {
      #expect(try await store.purgeAudit(before: date, limit: 2) == deleted)
      #expect(try await store.auditRows(AuditFilter(), limit: 10).map(\.requestID) == left)
    }
  },
]

/// Adds four lines, a second apart but not in that order, and returns the keys of the two users that they concern.
private func fill(_ store: any Store) async throws -> [UserID] {
  let ids = [try await store.addUser("a").id, try await store.addUser("b").id]
  let records = [
    AuditRecord(.requested, identifierKey: "k0"),
    AuditRecord(.mailed, userID: ids[0], identifierKey: "k1", clientKey: "c1", detail: #"{"rows":1}"#), AuditRecord(.reset, userID: ids[0]),
    AuditRecord(.mailed, userID: ids[1], identifierKey: "k3"),
  ]
  let lines = records.enumerated().map { AuditLine($1, requestID: "r\($0)", at: start.addingTimeInterval(Double($0))) }
  try await store.append([lines[2], lines[0]])
  try await store.append([lines[3], lines[1]])
  return ids
}
