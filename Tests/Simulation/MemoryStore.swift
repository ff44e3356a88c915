import Credentials
import Foundation
import PasswordReset
import Synchronization

/// A store in memory, which keeps the promises of the ports. It survives the simulated crash of a process.
package final class MemoryStore: Sendable {
  /// A fault that is planted to show that the checker finds it.
  package enum Defect: String, Sendable, CaseIterable {
    /// A crash loses the job that was added last.
    case forgetsJobInCrash
    /// The outcome of a worker that lost its lease counts.
    case acceptsAnyOwner
    /// A claim takes jobs that another worker holds.
    case claimsHeldJobs
    /// A claim takes jobs before they are due.
    case claimsEarly
    /// A job that was sent is not deleted.
    case keepsSentJobs
    /// A retry is due at once.
    case forgetsRetryTimes
    /// A request for several accounts becomes one job fewer.
    case dropsAccount
    /// The notice and the webhook are added although the password was not changed.
    case addsJobsWithoutChange
    /// The password is changed without the notice and the webhook.
    case changesWithoutJobs
    /// A password is set although the user has changed since the link was checked.
    case setsPasswordTwice
    /// Emails are never counted.
    case forgetsLimits
    /// Users are returned as they were added.
    case returnsFormerAddresses
    /// A refused email becomes no dead letter, and its job is deleted.
    case deletesDeadLetters
  }

  struct State {
    var users: [UserRow] = []
    /// The users as they were added.
    var addedUsers: [UserRow] = []
    var jobs: [Record] = []
    var lastJob: Int64 = 0
    var audit: [AuditRow] = []
    var lastAudit: Int64 = 0
    var counted: [CountedEmail] = []
    var formerPasswords: [(user: UserID, hash: String)] = []
    var cancellations: [UserID: Int64] = [:]
  }

  /// A row of the outbox. Times are in milliseconds, as in the databases.
  struct Record {
    var id: Int64
    var kind: JobKind
    var locale: String?
    var requestID: String
    var createdAt: Int64
    var dueAt: Int64
    var owner: String?
    var attempts: Int
    var lastError: String?
    var deadLetteredAt: Int64?
    var retriedAt: Int64?

    var job: Job {
      Job(
        id: id, kind: kind, locale: locale, requestID: requestID, createdAt: Date(milliseconds: createdAt),
        ttlStart: Date(milliseconds: retriedAt ?? createdAt), attempts: attempts)
    }
  }

  struct CountedEmail {
    var key: String
    var requestID: String
    var userID: UserID
    var at: Int64
  }

  let defect: Defect?
  let state = Mutex(State())

  package init(defect: Defect? = nil) { self.defect = defect }

  /// What a crash of a process destroys: nothing, unless the store is defective.
  func crash() {
    guard defect == .forgetsJobInCrash else { return }
    state.withLock { state in state.jobs.removeAll { $0.id == state.lastJob } }
  }

  func changeAddress(of id: UserID, to address: String) {
    state.withLock { state in
      for index in state.users.indices where state.users[index].id == id { state.users[index].email = address }
    }
  }

  func deleteUser(_ id: UserID) { state.withLock { $0.users.removeAll { $0.id == id } } }
}

extension MemoryStore.State {
  mutating func insert(_ new: NewJob) -> Job {
    lastJob += 1
    jobs.append(
      MemoryStore.Record(
        id: lastJob, kind: new.kind, locale: new.locale, requestID: new.requestID, createdAt: new.createdAt.milliseconds,
        dueAt: new.due.milliseconds, owner: new.owner, attempts: new.owner == nil ? 0 : 1))
    // As a store does, this returns the time as it was given.
    return Job(
      id: lastJob, kind: new.kind, locale: new.locale, requestID: new.requestID, createdAt: new.createdAt, ttlStart: new.createdAt,
      attempts: new.owner == nil ? 0 : 1)
  }

  mutating func insert(_ record: AuditRecord, requestID: String, at date: Date) {
    lastAudit += 1
    var row = AuditRow(
      id: lastAudit, at: Date(milliseconds: date.milliseconds), event: record.event.rawValue, userID: record.userID,
      identifierKey: record.identifierKey, requestID: requestID)
    (row.clientKey, row.detail) = (record.clientKey, record.detail)
    audit.append(row)
  }
}

extension MemoryStore: StoreSchema {
  package func migrate() {}

  package func checkReadiness() async {}
}
