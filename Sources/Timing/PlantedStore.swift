import Foundation
import PasswordReset
import SQLiteStore

/// The store, but that it takes two microseconds more for one side of a comparison.
struct PlantedStore: UserStore, OutboxStore {
  private static let spin = 2000

  let store: SQLiteStore
  let side: Side

  /// Keeps the processor busy, as a look-up would.
  private func spin() {
    let end = nanoseconds() + Self.spin
    while nanoseconds() < end {}
  }

  func enqueue(_ identifier: AccountIdentifier, audit: AuditRecord, locale: String, requestID: String, at now: Date, due: Date)
    async throws(StoreError)
  {
    if case .ask(let subject) = side, case .email(let address) = identifier, subject.owns(address) { spin() }
    try await store.enqueue(identifier, audit: audit, locale: locale, requestID: requestID, at: now, due: due)
  }

  func user(id: Int64) async throws(StoreError) -> User? {
    if case .check(let isKnown) = side, id.isMultiple(of: 2) == isKnown { spin() }
    return try await store.user(id: id)
  }

  // The rest is the store's own.

  func users(matching identifier: AccountIdentifier) async throws(StoreError) -> [User] { try await store.users(matching: identifier) }

  func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> Bool { try await store.setPassword(change, at: now) }

  func claim(limit: Int, at now: Date, leaseEnd: Date) async throws(StoreError) -> [OutboxEntry] {
    try await store.claim(limit: limit, at: now, leaseEnd: leaseEnd)
  }

  func renew(_ entries: [OutboxEntry], leaseEnd: Date) async throws(StoreError) -> Set<Int64> {
    try await store.renew(entries, leaseEnd: leaseEnd)
  }

  func finish(_ entry: OutboxEntry, _ outcome: OutboxOutcome, audit: AuditRecord?, at now: Date) async throws(StoreError) -> Bool {
    try await store.finish(entry, outcome, audit: audit, at: now)
  }

  func purgeDeadLetters(before date: Date, limit: Int) async throws(StoreError) -> Int {
    try await store.purgeDeadLetters(before: date, limit: limit)
  }

  func nextDue() async throws(StoreError) -> Date? { try await store.nextDue() }

  func reserveMail(_ mail: MailReservation, at now: Date) async throws(StoreError) -> MailAllowance { try await store.reserveMail(mail, at: now) }
}
