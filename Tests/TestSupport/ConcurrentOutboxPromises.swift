import Credentials
import Foundation
import PasswordReset
import Testing

/// The promises of ``OutboxStore`` to many callers at once.
public let concurrentOutboxPromises: [StorePromise] = [
  StorePromise("gives each of many jobs that are added at once its own id and its own values") { store in
    let names = ["\"quoted\"", "back\\slash", "{brace,comma}", "NULL", "null", " space ", "ünï©ødé", "'", "\n", "a"]
    let added = try await withThrowingTaskGroup(of: (Int64, String, Int).self) { group in
      for index in 0..<200 {
        group.addTask {
          let name = names[index % names.count]
          let new = NewJob(
            .resetRequest(.username(name)), locale: index % 3 == 0 ? nil : "en", requestID: "r\(index)", createdAt: start, due: start,
            owner: index % 2 == 0 ? "a" : nil)
          let job = try await store.enqueue(new, audit: AuditRecord(.requested, identifierKey: "k\(index)"))
          return (job.id, name, index)
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(Set(added.map(\.0)).count == 200)
    for (id, name, index) in added {
      let row = try #require(try await store.outboxRow(id: id))
      #expect(row.requestID == "r\(index)" && row.identifier == name && row.locale == (index % 3 == 0 ? nil : "en"))
      #expect(row.attempts == (index % 2 == 0 ? 1 : 0))
    }
    let audit = try await store.auditRows(AuditFilter(), limit: 500)
    #expect(audit.allSatisfy { $0.identifierKey == $0.requestID.replacing("r", with: "k") } && audit.count == 200)
  },
  StorePromise("tells each of many owners that finish jobs at once whether the job was still its own") { store in
    var jobs: [Job] = []
    for index in 0..<60 {
      jobs.append(try await store.enqueue(.request(requestID: "r\(index)", at: start, owner: "owner\(index % 2)"), audit: AuditRecord(.requested)))
    }
    let finished = try await withThrowingTaskGroup(of: (Int, Bool).self) { group in
      for (index, job) in jobs.enumerated() {
        // Each job is finished twice by its owner, and once by another one.
        for owner in ["owner\(index % 2)", "another", "owner\(index % 2)"] {
          group.addTask { (index, try await store.finish(job, owner: owner, .done(AuditRecord(.noAccount)), at: start)) }
        }
      }
      return try await group.reduce(into: [Int]()) { if $1.1 { $0.append($1.0) } }
    }
    #expect(finished.sorted() == Array(0..<60))
    let audit = try await store.auditRows(AuditFilter(), limit: 500)
    #expect(audit.filter { $0.event == "no_account" }.map(\.requestID).sorted() == jobs.map(\.requestID).sorted())
    #expect(try await store.outboxCounts().waiting == 0)
  },
]
