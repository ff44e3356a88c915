import Credentials
import Foundation
import Mail
import Prometheus
import SQLiteStore
import Synchronization
import Testing

@testable import PasswordReset

/// The handler, with a clock that moves only while the stores answer.
@Suite struct `The handler of emails` {
  private let harness: Harness
  private let store: SQLiteStore
  private let stores: SlowStores
  private let leases: LeaseKeeper
  private let mailbox = MemoryBackend()
  private let handler: ResetMailHandler

  init() throws {
    harness = try Harness()
    store = try SQLiteStore(path: harness.path)
    try store.migrate()
    let stores = SlowStores(store: store)
    let now: @Sendable () -> Date = { stores.now }
    var policy = OutboxPolicy()
    policy.emailLimits = [RateLimit(count: 5, seconds: 60)]
    let tokens = PasswordResetTokenGenerator(secretKey: Harness.secretKey, timeout: 3600)
    let context = ResetContext(
      users: stores, outbox: stores, tokenGenerator: tokens, cancelTokens: tokens, passwordFormat: .django,
      identifierHasher: IdentifierHasher(secretKey: Harness.secretKey), now: now)
    let links = ResetLinkFactory(format: .django, tokenGenerator: tokens, resetURL: .ofService(port: 1), cancelTokens: tokens, cancelURL: nil)
    leases = LeaseKeeper(outbox: store, duration: policy.lease, now: now)
    handler = ResetMailHandler(
      context: context, links: links, composer: ShortComposer(),
      sender: MailSender(mailbox, policy: policy, registry: Registry(), now: now), leases: leases, policy: policy)
    self.stores = stores
  }

  /// Claims and handles the job of a request.
  private func handle() async throws -> JobOutcome {
    let new = NewJob(
      .resetRequest(.email("alice@example.com")), locale: "en", requestID: "r", createdAt: stores.now.addingTimeInterval(-1),
      due: stores.now.addingTimeInterval(-1))
    _ = try await store.enqueue(new, audit: AuditRecord(.requested))
    return try await handler.handle(try #require(try await leases.claim(limit: 1, pollInterval: 60).first))
  }

  @Test func `sends to an address that does not change`() async throws {
    stores.duringReservation { $0.advance(by: 3) }
    #expect(try await handle() == .done(AuditRecord(.mailed, userID: UserID(1), identifierKey: stores.key)))
    #expect(mailbox.messages.map(\.recipient) == ["alice@example.com"])
  }

  @Test func `sends nothing to an address that changes during a slow reservation`() async throws {
    stores.duringReservation { stores in
      stores.advance(by: 3)
      stores.changeAddress()
    }
    #expect(try await handle() == .release)
    #expect(mailbox.messages.isEmpty)
  }

  @Test func `sends nothing to an address that changes while the clock is set back`() async throws {
    stores.duringReservation { stores in
      stores.advance(by: -60)
      stores.changeAddress()
    }
    #expect(try await handle() == .release)
    #expect(mailbox.messages.isEmpty)
  }

  @Test func `sends nothing if another worker takes the job while the user is read again`() async throws {
    stores.duringReservation { $0.advance(by: 3) }
    stores.duringSecondReading { stores in
      stores.advance(by: 3600)
      let end = stores.now.addingTimeInterval(60)
      #expect((try? await stores.store.claim(.email, limit: 1, owner: "other", at: stores.now, leaseEnd: end))?.count == 1)
    }
    #expect(try await handle() == .release)
    #expect(mailbox.messages.isEmpty)
  }
}

/// Stores with one user and a clock, which run a test's work before they answer.
private final class SlowStores: WrappedOutboxStore, UserStore {
  typealias Work = @Sendable (SlowStores) async -> Void

  private struct State {
    var now = Date(timeIntervalSince1970: 1_800_000_000)
    var user = User(id: UserID(1), username: "alice", email: "alice@example.com", password: "x")
    var duringReservation: Work = { _ in }
    var duringSecondReading: Work = { _ in }
  }

  let store: SQLiteStore
  private let state = Mutex(State())

  init(store: SQLiteStore) { self.store = store }

  var now: Date { state.withLock(\.now) }

  var key: String { IdentifierHasher(secretKey: Harness.secretKey).key(for: "alice@example.com") }

  func advance(by seconds: TimeInterval) { state.withLock { $0.now += seconds } }

  func changeAddress() { state.withLock { $0.user.email = "new@example.com" } }

  func duringReservation(_ work: @escaping Work) { state.withLock { $0.duringReservation = work } }

  func duringSecondReading(_ work: @escaping Work) { state.withLock { $0.duringSecondReading = work } }

  func reserve(_ email: EmailReservation, now: @escaping @Sendable () -> Date) async throws(StoreError) -> EmailAllowance {
    await state.withLock { $0.duringReservation }(self)
    return .granted
  }

  func users(matching identifier: AccountIdentifier) async throws(StoreError) -> [User] { [state.withLock(\.user)] }

  func user(id: UserID) async throws(StoreError) -> User? {
    await state.withLock { $0.duringSecondReading }(self)
    return state.withLock(\.user)
  }

  var hasUsernames: Bool { true }

  var linkFormat: LinkFormat { .django }

  func userID(_ text: String) -> UserID? { nil }

  func damagedUser(matching identifier: AccountIdentifier) async throws(StoreError) -> UserID? { nil }

  func setPassword(_ change: PasswordChange, at now: Date) async throws(StoreError) -> [Job]? { nil }

  func cancelLinks(_ cancellation: LinkCancellation, at now: Date) async throws(StoreError) -> [Job] { [] }

  func formerPasswords(of id: UserID, limit: Int) async throws(StoreError) -> [String] { [] }

  func usersWithFormerPasswords(after id: UserID?, limit: Int) async throws(StoreError) -> [UserID] { [] }

  func deleteFormerPasswords(of id: UserID) async throws(StoreError) {}
}

private struct ShortComposer: EmailComposer {
  func compose(_ email: MailContext) -> EmailMessage {
    EmailMessage(sender: "s@example.com", recipient: email.recipient, subject: "", body: "", messageID: email.messageKey, date: email.date)
  }
}
