import Credentials
import Foundation

/// Deals with one outbox entry: finds whom it concerns, makes the token, has the mail written and hands it over.
struct ResetMailHandler: Sendable {
  typealias IsHeld = @Sendable () async -> Bool

  /// Seconds for which a user's row is taken as it was read.
  private static let freshness: TimeInterval = 2

  private let users: any UserStore
  private let outbox: any OutboxStore
  private let tokenGenerator: PasswordResetTokenGenerator
  private let identifierHasher: IdentifierHasher
  private let resetURL: ResetURL
  private let timeout: Int
  private let compose: MailComposer
  private let line: MailSender
  private let policy: OutboxPolicy
  private let now: @Sendable () -> Date

  /// - Parameter timeout: `PASSWORD_RESET_TIMEOUT`, which the mail tells the reader.
  init(
    users: any UserStore, outbox: any OutboxStore, tokenGenerator: PasswordResetTokenGenerator, identifierHasher: IdentifierHasher,
    resetURL: ResetURL, timeout: Int, compose: @escaping MailComposer, line: MailSender, policy: OutboxPolicy, now: @escaping @Sendable () -> Date
  ) {
    self.users = users
    self.outbox = outbox
    self.tokenGenerator = tokenGenerator
    self.identifierHasher = identifierHasher
    self.resetURL = resetURL
    self.timeout = timeout
    self.compose = compose
    self.line = line
    self.policy = policy
    self.now = now
  }

  /// - Parameter isHeld: whether the entry is still ours; asked before a mail is handed over, as that may take its time to come.
  func deliver(_ entry: OutboxEntry, isHeld: IsHeld) async throws(StoreError) -> (OutboxOutcome, AuditRecord?) {
    guard now().timeIntervalSince(entry.ttlStart) <= policy.lifetime else {
      return (.bury(reason: "too old to be of use"), AuditRecord(.mailFailed))
    }
    switch entry.item {
    case .request(let identifier): return try await answer(identifier, of: entry, isHeld)
    case .resetMail(let userID):
      guard let user = try await users.user(id: userID), user.isEligibleForReset else { return (.done, AuditRecord(.noAccount, userID: userID)) }
      return try await send(.passwordReset, to: user.email, user: user, for: entry, isHeld)
    case .changedMail(let userID, let recipient):
      guard let user = try await users.user(id: userID) else { return (.done, AuditRecord(.noAccount, userID: userID)) }
      return try await send(.passwordChanged, to: recipient, user: user, for: entry, isHeld)
    }
  }

  private func answer(_ identifier: AccountIdentifier, of entry: OutboxEntry, _ isHeld: IsHeld) async throws(StoreError) -> (
    OutboxOutcome, AuditRecord?
  ) {
    let concerned = try await users.users(matching: identifier).filter { identifier.matches($0) && $0.isEligibleForReset }
    switch concerned.count {
    case 0: return (.done, AuditRecord(.noAccount, identifierKey: identifierHasher.key(for: identifier)))
    case 1: return try await send(.passwordReset, to: concerned[0].email, user: concerned[0], for: entry, isHeld)
    default:
      // The oldest accounts go first: a stranger who adds accounts with somebody's address cannot push out that person's own.
      let served = concerned.map(\.id).sorted().prefix(policy.accountsPerRequest)
      let isCut = served.count < concerned.count
      return (.split(userIDs: Array(served)), isCut ? AuditRecord(.suppressed, identifierKey: identifierHasher.key(for: identifier)) : nil)
    }
  }

  private func send(_ kind: MailContext.Kind, to recipient: String, user: User, for entry: OutboxEntry, _ isHeld: IsHeld)
    async throws(StoreError) -> (OutboxOutcome, AuditRecord?)
  {
    let addressKey = identifierHasher.key(for: recipient)
    func record(_ event: AuditEvent) -> AuditRecord { AuditRecord(event, userID: user.id, identifierKey: addressKey) }
    switch try await allowance(for: kind, to: addressKey, user: user, of: entry) {
    case .granted: break
    case .refused: return (.done, record(.suppressed))
    case .later(let date): return wait(until: date, entry, else: record(.mailFailed))
    }
    let start = now()
    let deadline = entry.ttlStart.addingTimeInterval(policy.lifetime)
    let result = await line.send(id: entry.id, before: deadline) {
      // Written when its turn comes, so that the link lives as long as the mail says. What has changed while it waited begins anew.
      guard await isHeld() else { return nil }
      if now().timeIntervalSince(start) > Self.freshness, await !isUnchanged(user) { return nil }
      return compose(mail(kind, to: recipient, user: user, for: entry))
    }
    switch result {
    case .sent: return (.done, record(.mailed))
    case .untried: return (.release, nil)
    case .late: return (.bury(reason: "too old to be of use when its turn comes; see EMAIL_RATE_LIMIT"), record(.mailFailed))
    case .failed(.permanent(let reason)): return (.bury(reason: reason), record(.mailFailed))
    case .failed(.transient(let reason)): return retry(entry, because: reason, within: policy.maxBackoff, else: record(.mailFailed))
    case .failed(.unavailable(let reason)): return retry(entry, because: reason, within: policy.maxProbeInterval, else: record(.mailFailed))
    }
  }

  /// The notice of a change is asked for by nobody who could flood a mailbox with it.
  private func allowance(for kind: MailContext.Kind, to addressKey: String, user: User, of entry: OutboxEntry) async throws(StoreError)
    -> MailAllowance
  {
    let limits = kind == .passwordReset ? policy.mailLimits : []
    guard !limits.isEmpty || !policy.totalMailLimits.isEmpty else { return .granted }
    let mail = MailReservation(
      addressKey: kind == .passwordReset ? addressKey : nil, requestID: entry.requestID, userID: user.id, limits: limits,
      totalLimits: policy.totalMailLimits)
    return try await outbox.reserveMail(mail, at: now())
  }

  private func mail(_ kind: MailContext.Kind, to recipient: String, user: User, for entry: OutboxEntry) -> MailContext {
    let date = now()
    // A reset mail and a notice never share a request id; accounts of one request are told apart by the user's key.
    var mail = MailContext(
      kind: kind, user: user, recipient: recipient, link: nil, locale: entry.locale, time: entry.createdAt,
      messageKey: "\(entry.requestID).\(user.id)", date: date)
    if kind == .passwordReset {
      let token = tokenGenerator.makeToken(for: user.tokenSubject, at: date)
      mail.link = MailContext.Link(uid: UIDB64.encode(user.id), token: token, to: resetURL, lifetime: timeout)
    }
    return mail
  }

  private func isUnchanged(_ user: User) async -> Bool {
    do { return try await users.user(id: user.id) == user } catch { return false }
  }

  /// All mails that wait would come back at once, else; and none of them waits longer for having waited long.
  private static let spread: TimeInterval = 30

  private func wait(until date: Date, _ entry: OutboxEntry, else audit: AuditRecord) -> (OutboxOutcome, AuditRecord?) {
    let reason = "RATE_LIMIT_MAILS_TOTAL is used up"
    let date = date.addingTimeInterval(.random(in: 0...Self.spread))
    guard date.timeIntervalSince(entry.ttlStart) <= policy.lifetime else { return (.bury(reason: "too late: \(reason)"), audit) }
    return (.retry(at: date, reason: reason), nil)
  }

  private func retry(_ entry: OutboxEntry, because reason: String, within longest: TimeInterval, else audit: AuditRecord)
    -> (OutboxOutcome, AuditRecord?)
  {
    let date = now().addingTimeInterval(policy.backoff(after: entry.attempts, longest: longest))
    guard date.timeIntervalSince(entry.ttlStart) <= policy.lifetime else {
      return (.bury(reason: "given up after \(entry.attempts) attempts: \(reason)"), audit)
    }
    return (.retry(at: date, reason: reason), nil)
  }
}
