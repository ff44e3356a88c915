import Credentials
import Foundation
import PasswordReset

/// A store that takes two microseconds longer for one class of requests.
struct DelayedStore: AuditStore, OutboxStore, UserStore {
  private static let nanosecondsOfDelay = 2000

  let store: any AuditStore & OutboxStore & UserStore
  let delayedClass: RequestClass

  /// Keeps the processor busy, as a lookup would.
  private func delay() {
    let end = nanoseconds() + Self.nanosecondsOfDelay
    while nanoseconds() < end {}
  }

  func enqueue(_ job: NewJob, audit: AuditRecord) async throws(StoreError) -> Job {
    if case .resetRequest(let kind) = delayedClass, case .resetRequest(.email(let address)) = job.kind, kind.owns(address) { delay() }
    return try await store.enqueue(job, audit: audit)
  }

  func user(id: UserID) async throws(StoreError) -> User? {
    if case .linkCheck(let isKnown) = delayedClass, TestKey.current.isKnown(id) == isKnown { delay() }
    return try await store.user(id: id)
  }

  // Everything else goes to the store without a delay.

  var hasUsernames: Bool { store.hasUsernames }

  func users(matching identifier: AccountIdentifier) async throws(StoreError) -> [User] { try await store.users(matching: identifier) }

  func damagedUser(matching identifier: AccountIdentifier) async throws(StoreError) -> UserID? {
    try await store.damagedUser(matching: identifier)
  }

  var linkFormat: LinkFormat { store.linkFormat }

  func userID(_ text: String) -> UserID? { store.userID(text) }

  func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> [Job]? { try await store.setPassword(change, at: now) }

  func formerPasswords(of id: UserID, limit: Int) async throws(StoreError) -> [String] { try await store.formerPasswords(of: id, limit: limit) }

  func usersWithFormerPasswords(after id: UserID?, limit: Int) async throws(StoreError) -> [UserID] {
    try await store.usersWithFormerPasswords(after: id, limit: limit)
  }

  func deleteFormerPasswords(of id: UserID) async throws(StoreError) { try await store.deleteFormerPasswords(of: id) }

  func cancelLinks(_ cancellation: LinkCancellation, at now: Date) async throws(StoreError) -> [Job] {
    try await store.cancelLinks(cancellation, at: now)
  }

  func claim(_ channel: JobChannel, limit: Int, owner: String, at now: Date, leaseEnd: Date) async throws(StoreError) -> [Job] {
    try await store.claim(channel, limit: limit, owner: owner, at: now, leaseEnd: leaseEnd)
  }

  func extendLeases(of ids: [Int64], owner: String, to leaseEnd: Date) async throws(StoreError) -> Set<Int64> {
    try await store.extendLeases(of: ids, owner: owner, to: leaseEnd)
  }

  func release(_ ids: [Int64], owner: String) async throws(StoreError) { try await store.release(ids, owner: owner) }

  func finish(_ job: Job, owner: String, _ outcome: JobOutcome, adding jobs: [NewJob], at now: Date) async throws(StoreError) -> Bool {
    try await store.finish(job, owner: owner, outcome, adding: jobs, at: now)
  }

  func purgeDeadLetters(before date: Date, limit: Int) async throws(StoreError) -> Int {
    try await store.purgeDeadLetters(before: date, limit: limit)
  }

  func correctTimes(_ channel: JobChannel, lease: TimeInterval, longestWait: OutboxWait, now: @escaping @Sendable () -> Date)
    async throws(StoreError) -> Int
  {
    try await store.correctTimes(channel, lease: lease, longestWait: longestWait, now: now)
  }

  func lastRetry(_ channel: JobChannel) async throws(StoreError) -> Date? { try await store.lastRetry(channel) }

  func nextDue(_ channel: JobChannel, owner: String) async throws(StoreError) -> Date? { try await store.nextDue(channel, owner: owner) }

  func reserve(_ email: EmailReservation, now: @escaping @Sendable () -> Date) async throws(StoreError) -> EmailAllowance {
    try await store.reserve(email, now: now)
  }

  func append(_ lines: [AuditLine]) async throws(StoreError) { try await store.append(lines) }

  func purgeAudit(before date: Date, limit: Int) async throws(StoreError) -> Int { try await store.purgeAudit(before: date, limit: limit) }

  func purgeCancellations(before time: TokenTime, limit: Int) async throws(StoreError) -> Int {
    try await store.purgeCancellations(before: time, limit: limit)
  }
}
