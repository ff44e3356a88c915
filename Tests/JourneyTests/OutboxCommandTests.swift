import Foundation
import PasswordReset
import SQLiteStore
import Testing

@Suite struct `The outbox commands` {
  private let folder: Folder
  private let store: SQLiteStore

  init() throws {
    folder = try Folder()
    store = try SQLiteStore(path: folder.path + "/password-reset.sqlite3")
    try store.migrate()
  }

  /// Three rows: one that waits, and two dead letters, of now and of forty days ago.
  private func fill() async throws {
    for index in 1...3 {
      try await store.enqueue(
        .email("user\(index)@example.com"), audit: AuditRecord(.requested), locale: "de", requestID: "r\(index)", at: Date(),
        due: Date().addingTimeInterval(-1))
    }
    let entries = try await store.claim(limit: 3, at: Date(), leaseEnd: Date().addingTimeInterval(60))
    _ = try await store.finish(entries[1], .bury(reason: "RCPT failed: 550"), audit: nil, at: Date())
    _ = try await store.finish(entries[2], .bury(reason: "\u{1B}[31mred"), audit: nil, at: Date().addingTimeInterval(-40 * 86400))
  }

  @Test func `list and show what waits and what was given up`() async throws {
    try await fill()
    let list = try await folder.run(["outbox", "list"])
    #expect(list.status == 0 && list.output.contains("request_email user1@example.com") && list.output.contains("RCPT failed: 550"))
    #expect(list.output.hasSuffix("1 waiting, 2 given up\n") && !list.output.contains("\u{1B}"))
    let dead = try await folder.run(["outbox", "list", "--dead", "--json"])
    let rows = try dead.output.split(separator: "\n").map { try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
    #expect(rows.map { $0?["id"] as? Int } == [2, 3] && rows.allSatisfy { $0?["state"] as? String == "given up" })
    let show = try await folder.run(["outbox", "show", "2"])
    #expect(show.output.contains("identifier  user2@example.com") && show.output.contains("language    de"))
    #expect(try await folder.run(["outbox", "show", "99"]).status == 1)
  }

  @Test func `retry what was given up, however old it is`() async throws {
    try await fill()
    #expect(try await folder.run(["outbox", "retry"]).status == 64)
    #expect(try await folder.run(["outbox", "retry", "99"]).status == 1)
    #expect(try await Folder().run(["outbox", "list"]).status == 78)
    #expect(try await folder.run(["outbox", "retry", "3", "99"]).output == "1 will be tried again. 1 of them are not there.\n")
    #expect(try await folder.run(["outbox", "retry", "3"]).output == "1 will be tried again.\n")
    let entry = try #require(try await store.claim(limit: 5, at: Date(), leaseEnd: Date().addingTimeInterval(60)).first)
    #expect(entry.id == 3 && entry.livesFrom > entry.createdAt.addingTimeInterval(-1))
    #expect(try await folder.run(["outbox", "retry", "--dead"]).output == "1 will be tried again.\n")
    #expect(try await store.outboxCounts().waiting == 3)
    #expect(try await store.outboxCounts().dead == 0)
  }

  @Test func `purge rows by number or dead letters by age`() async throws {
    try await fill()
    #expect(try await folder.run(["outbox", "purge"]).status == 64)
    #expect(try await folder.run(["outbox", "purge", "--older-than", "30"]).output == "Deleted 1.\n")
    #expect(try await store.outboxRecord(id: 3) == nil)
    #expect(try await folder.run(["outbox", "purge", "1"]).output == "Deleted 1.\n")
    #expect(try await folder.run(["outbox", "purge", "1"]).status == 1)
    #expect(try await folder.run(["outbox", "purge", "--older-than", "0"]).output == "Deleted 1.\n")
    #expect(try await store.outboxCounts().waiting == 0)
    #expect(try await store.outboxCounts().dead == 0)
  }
}
